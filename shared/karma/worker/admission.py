"""Admission: whether a message may start work. Everything that does not need the ledger is checked here."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, NamedTuple

from karma.errors import MessageError, RefusedError
from karma.messages import LearnBatch, ScoreBatch, stage_of
from karma.messages.signing import Keyring
from karma.messages.wire import decode
from karma.queue.celery_app import target_of

#: The stage whose work a stage records.
ASKED_AT: Final = {"score": "generate", "learn": "judge"}

#: Claims that a process remembers.
_REMEMBERED = 1 << 16


class Admitted(NamedTuple):
    """A batch, and the model or judge whose worker signed it; empty for what the ledger itself says."""

    batch: Any  # of the stage's type
    sender: str


def admit(stage: str, sealed: str, keys: Keyring) -> Admitted:
    """The batch of a message, and whose results it holds.

    Its signature is valid, its type belongs to the stage, and it says nothing of another model or judge than that of
    its channel. Results carry the token with which the ledger opened their batch. Whether their items are open is the
    ledger's to say.

    Raises:
        RefusedError: with the first of these that does not hold.
    """
    opened = keys.open(sealed)
    try:
        batch = decode(opened.text)
    except MessageError as cause:
        raise RefusedError("unreadable", str(cause)) from cause
    if stage_of(batch) != stage:
        raise RefusedError("type", f"a message of type {stage_of(batch)} is in a queue of {stage}")
    if not keys.signs:
        return Admitted(batch, "")
    of_stage, _, name = opened.channel.partition("/")
    if of_stage != stage:
        raise RefusedError("channel", f"a message of the channel {opened.channel} is in a queue of {stage}")
    if not isinstance(batch, ScoreBatch | LearnBatch):
        if name != target_of(batch):
            raise RefusedError("channel", f"a message for {target_of(batch)!r} is signed for {name!r}")
        return Admitted(batch, "")
    if name:
        _check_results(batch, name, keys)
    return Admitted(batch, name)


def _check_results(batch: ScoreBatch | LearnBatch, name: str, keys: Keyring) -> None:
    senders = {item.model if isinstance(batch, ScoreBatch) else item.judge for item in batch.items}  # type: ignore[union-attr]
    if senders - {name}:
        raise RefusedError("channel", f"results of {name!r} say that they are of another")
    if batch.header.token != keys.token(batch.header.batch, ASKED_AT[stage_of(batch)], name):
        raise RefusedError("token", f"results of {name!r} are of a batch that was not opened for it")


class Memory:
    """The claims that this process acquired, the newest 65,536.

    A batch is never legitimately started twice by one process. Redis' own record of it (`karma.queue.claims`) can be
    deleted by whoever can write there, who could else have a paid call repeated without end.
    """

    def __init__(self) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        """Remember a claim's name."""
        self._names[name] = None
        if len(self._names) > _REMEMBERED:
            self._names.popitem(last=False)
