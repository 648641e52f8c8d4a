"""Signatures: who may write what to which queue.

A message travels as a *sealed* text, `MAC:CHANNEL:JSON`. A channel is one direction of one queue, and has its own key:

| channel | from | to |
| --- | --- | --- |
| `generate/MODEL` | gateway | the model's generation workers |
| `score/MODEL` | the model's generation workers | scoring |
| `score` | gateway: given responses, and failures of work that was given up | scoring |
| `match` | scoring, gateway | matching |
| `judge/JUDGE` | matching, scoring, gateway | the judge's workers |
| `learn/JUDGE` | the judge's workers | scoring |
| `learn` | gateway: failures of work that was given up | scoring |
| `ledger` | whoever opens a batch: its work token | whoever records its results |

The MAC is BLAKE2b in its keyed mode (RFC 7693, section 2.9), 128 bits, over the channel and the text. All keys are
derived from one secret, so a process that has the secret has them all, and a worker is given only those of its models
(`karma keys`). Who can verify a MAC can also make one: hence a key per model and direction. A signature does not stop
a replay: an item that is closed stays closed, and its id is never given again.

Without any key nothing is signed and nothing is verified; as soon as a process has one, it refuses what is unsigned.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from karma.errors import RefusedError, SettingsError

#: The least length of a secret, characters.
SECRET_CHARACTERS = 32

_CHANNEL = re.compile(r"(?:(?:generate|score|judge|learn)/[A-Za-z0-9][A-Za-z0-9._-]{0,99}|score|match|learn|ledger)")
_MAC_CHARACTERS = 32
_MAC = re.compile(r"[0-9a-f]{32}")
_KEY = re.compile(r"[0-9a-f]{64}")
LEDGER = "ledger"


class Opened(NamedTuple):
    """A text whose signature is valid, and its channel; the channel is empty where nothing is signed."""

    channel: str
    text: str


def channel(stage: str, target: str = "") -> str:
    """The channel of a stage's messages for, or results from, a model or judge; of the ledger's own without one."""
    return f"{stage}/{target}" if target else stage


def channels_of(service: str, names: Iterable[str]) -> list[str]:
    """The channels that a service reads or writes; `names` are the models or judges that it serves.

    Raises:
        SettingsError: the service is not one that is limited to some channels.
    """
    match service:
        case "generation":
            return [channel(stage, name) for name in names for stage in ("generate", "score")]
        case "judging":
            return [channel(stage, name) for name in names for stage in ("judge", "learn")]
    raise SettingsError(
        f"{service} reads and writes the ledger, so it needs KARMA_SIGNING_KEY itself; "
        "only generation and judging have keys of their own"
    )


@dataclass(frozen=True)
class Keyring:
    """The keys that a process holds: all, derived from the secret, or those of some channels, or none."""

    secret: bytes | None = field(default=None, repr=False)
    given: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, secret: str | None, keys: str | None = None) -> Keyring:
        """The keyring of a secret (`KARMA_SIGNING_KEY`) or of the keys of channels (`KARMA_SIGNING_KEYS`).

        Raises:
            SettingsError: the secret is too short, or the keys are malformed; neither is repeated.
        """
        if secret is not None and len(secret.strip()) < SECRET_CHARACTERS:
            raise SettingsError(
                f"environment: KARMA_SIGNING_KEY has {len(secret.strip())} characters, expected at least "
                f"{SECRET_CHARACTERS}. Make one with: openssl rand -hex 32"
            )
        given = {}
        for part in (keys or "").replace(",", " ").split():
            name, _, key = part.partition("=")
            if not _CHANNEL.fullmatch(name) or not _KEY.fullmatch(key):
                raise SettingsError(
                    "environment: KARMA_SIGNING_KEYS is not what `karma keys` prints: CHANNEL=KEY, separated by spaces "
                    "(it is not shown, as it holds keys)"
                )
            given[name] = bytes.fromhex(key)
        return cls(blake2b(secret.strip().encode(), digest_size=64).digest() if secret is not None else None, given)

    @property
    def signs(self) -> bool:
        """Whether messages are signed and signatures are required."""
        return self.secret is not None or bool(self.given)

    def seal(self, channel: str, text: str) -> str:
        """The sealed text; the text itself where nothing is signed.

        Raises:
            SettingsError: this process does not hold the channel's key.
        """
        if not self.signs:
            return text
        key = self._key(channel)
        if key is None:
            raise SettingsError(f"this process has no key of {channel}: KARMA_SIGNING_KEYS lacks it (`karma keys`)")
        return f"{_mac(key, channel, text)}:{channel}:{text}"

    def open(self, sealed: str) -> Opened:
        """The text of a sealed text whose signature is valid.

        Raises:
            RefusedError: it is unsigned, its key is not here, or the signature is not valid.
        """
        mac = sealed[:_MAC_CHARACTERS]
        is_sealed = sealed[_MAC_CHARACTERS : _MAC_CHARACTERS + 1] == ":" and _MAC.fullmatch(mac) is not None
        if not is_sealed:
            if self.signs:
                raise RefusedError("unsigned", "it is not signed, and this process has a signing key")
            return Opened("", sealed)
        name, found, text = sealed[_MAC_CHARACTERS + 1 :].partition(":")
        if not found or not _CHANNEL.fullmatch(name):
            raise RefusedError("form", "it is not of the form MAC:CHANNEL:JSON")
        key = self._key(name)
        if key is None:
            raise RefusedError("no_key", f"it is signed, and this process has no key of {name} (see `karma keys`)")
        if not secrets.compare_digest(_mac(key, name, text), mac):
            raise RefusedError("signature", f"its signature is not that of {name}")
        return Opened(name, text)

    def token(self, batch: str, stage: str, target: str) -> str:
        """The work token of a batch: the proof that the ledger opened it at this stage for this model or judge.

        Results carry it back, also late ones of a batch whose items have moved on. Without a key it is empty.
        """
        key = self._key(LEDGER)
        return "" if key is None else _mac(key, LEDGER, f"{stage}:{target}:{batch}")

    def export(self, channels: Iterable[str]) -> str:
        """The keys of channels as `KARMA_SIGNING_KEYS` holds them."""
        keys = {name: self._key(name) for name in channels}
        return " ".join(f"{name}={key.hex()}" for name, key in keys.items() if key is not None)

    def subkey(self, channel: str, purpose: bytes) -> bytes | None:
        """A key for another purpose, of those who hold the channel's key; 32 bytes, None where that is not here.

        Args:
            channel: whose key it is derived from.
            purpose: at most 16 bytes, another one for each use.
        """
        key = self._key(channel)
        return None if key is None else blake2b(digest_size=32, key=key, person=purpose).digest()

    def _key(self, channel: str) -> bytes | None:
        if self.secret is None:
            return self.given.get(channel)
        return blake2b(channel.encode(), digest_size=32, key=self.secret, person=b"karma channel").digest()


def _mac(key: bytes, channel: str, text: str) -> str:
    data = f"{channel}:{text}".encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=_MAC_CHARACTERS // 2, key=key, person=b"karma message").hexdigest()


#: The keyring of a process without keys.
UNSIGNED = Keyring()
