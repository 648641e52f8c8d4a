"""All workers' claims at one moment, as the sweeper reads them.

Whatever is in Redis may be written by somebody else: what is no claim is removed and counted, and why a claim was
released is believed only if a worker that may hold such work signed it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from karma.errors import RefusedError
from karma.messages.signing import LEDGER, UNSIGNED, Keyring, channel
from karma.queue.claims import RELEASED_AGE_S, RESULT_STAGES
from karma.queue.redis import CLAIMS_KEY, FATES_KEY, outages, server_time
from karma.telemetry import metrics

#: What a claim's name looks like, and how far a heartbeat may be ahead of Redis' clock: whatever else is in Redis was
#: not written by KARMA.
_NAME = re.compile(rb"(?:generate|score|match|judge|learn):[A-Za-z0-9]{1,32}:[0-9]{1,10}")
_AHEAD_S = 60.0

#: The longest reason of a release that is read.
_REASON_CHARACTERS = 500


@dataclass(frozen=True)
class ClaimsView:
    """All workers' claims at one moment, as the sweeper reads them: per batch, claim → last heartbeat."""

    now: float  # Redis' clock
    silence_s: float
    beats: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    fates: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # released claim → its channel, and why

    @classmethod
    def read(cls, redis: Any, silence_s: float, keys: Keyring = UNSIGNED) -> ClaimsView:
        """The claims now. What is no claim is removed and counted; a release that is not signed says nothing."""
        with outages():
            now = server_time(redis)
            entries = redis.zrange(CLAIMS_KEY, 0, -1, withscores=True)
            fates = redis.hgetall(FATES_KEY)
        beats: dict[str, dict[str, float]] = {}
        foreign = [raw for raw, _score in entries if not _NAME.fullmatch(raw)]
        for raw, score in entries:
            if _NAME.fullmatch(raw):
                name = raw.decode()
                beats.setdefault(name.split(":")[1], {})[name] = score if score < now + _AHEAD_S else 0.0
        if foreign:
            metrics.REFUSED.labels("claims", "claim").inc(len(foreign))
            with outages():
                redis.zrem(CLAIMS_KEY, *foreign)
        signed = {raw.decode("utf-8", "replace"): _fate(raw, why, keys) for raw, why in fates.items()}
        return cls(now, silence_s, beats, {name: fate for name, fate in signed.items() if fate is not None})

    def is_held(self, batch: str) -> bool:
        """Whether a worker with a fresh heartbeat holds the batch or its results."""
        return any(self.now - beat < self.silence_s for beat in self.beats.get(batch, {}).values())

    def has_results(self, batch: str) -> bool:
        """Whether a worker received results of the batch that are not recorded."""
        return any(name.startswith(RESULT_STAGES) for name in self.beats.get(batch, {}))

    def last_seen(self, name: str) -> float:
        """When a claim's holder last sent a heartbeat, or released it."""
        beat = self.beats[name.split(":")[1]][name]
        return beat + RELEASED_AGE_S if name in self.fates else beat

    def expired(self) -> list[str]:
        """All claims whose heartbeat expired, or which were released."""
        return [
            name for claims in self.beats.values() for name, beat in claims.items() if self.now - beat >= self.silence_s
        ]

    def reason(self, name: str, target: str = "") -> str:
        """Why a claim expired: the error or `RELEASED` if it was released, else that the heartbeat expired.

        A worker can only say why it released a claim on work for its own model or judge, the `target`.
        """
        says, why = self.fates.get(name, ("", ""))
        own = channel(name.partition(":")[0], target) if target else LEDGER
        return why if why and says in ("", LEDGER, own) else "the worker's heartbeat expired"


def _fate(name: bytes, fate: bytes, keys: Keyring) -> tuple[str, str] | None:
    """The channel and the reason of a release; None if KARMA did not write it."""
    try:
        opened = keys.open(fate.decode("utf-8", "replace"))
    except RefusedError as cause:
        metrics.REFUSED.labels("claims", cause.reason).inc()
        return None
    of, _, why = opened.text.partition(" ")
    return (opened.channel, why[:_REASON_CHARACTERS]) if of.encode() == name and why else None
