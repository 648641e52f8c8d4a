"""Names of streams. A stream derived from another says in its name from which, and what is different about it.

`BASE@POLICY` holds the prompts of BASE with their stored responses and pairs them by POLICY, treated otherwise as BASE
is. `+2pairs` after the policy allows other pairs a prompt than BASE does, `+teach` lets the verdicts teach the
competencies. As everything is in the name, a message of such a stream is all that a worker needs to know, and a name
asked for twice is the same stream. Nobody can enqueue to a name with an `@`, and no pool file can hold one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from karma.errors import SettingsError

#: What stands between the base and the rest of a derived stream's name.
MARK = "@"

_DERIVED = re.compile(r"(?P<base>[^@]+)@(?P<policy>[^@+]+)(\+(?P<pairs>[0-9]+)pairs)?(?P<teach>\+teach)?", re.DOTALL)


@dataclass(frozen=True)
class Derivation:
    """Where a derived stream comes from and what is different about it."""

    base: str
    policy: str
    pairs_per_prompt: int | None = None  # None: as many as the base allows
    teaches: bool = False

    def __post_init__(self) -> None:
        """Refuse parts of which the name would not tell where they end."""
        if MARK in self.base:
            raise SettingsError(f"the stream {self.base!r} is derived itself: name the one that it comes from")
        if MARK in self.policy or "+" in self.policy:
            raise SettingsError(f"the policy {self.policy!r} cannot name a stream: it holds an @ or a +")

    @property
    def name(self) -> str:
        """The stream's name; `derivation` reads it."""
        pairs = "" if self.pairs_per_prompt is None else f"+{self.pairs_per_prompt}pairs"
        return f"{self.base}{MARK}{self.policy}{pairs}{'+teach' if self.teaches else ''}"


def derivation(name: str) -> Derivation | None:
    """What a stream's name says; None where the stream is not derived."""
    found = _DERIVED.fullmatch(name)
    if found is None:
        return None
    pairs = found["pairs"]
    return Derivation(found["base"], found["policy"], None if pairs is None else int(pairs), found["teach"] is not None)


def teaches(name: str) -> bool:
    """Whether the verdicts of a stream teach: those of a derived one only where its name says so."""
    derived = derivation(name)
    return derived is None or derived.teaches


def check_enqueued(name: str) -> None:
    """Refuse a name that nobody may enqueue to.

    Raises:
        SettingsError: the name is that of a derived stream.
    """
    if MARK in name:
        raise SettingsError(
            f"nothing can be enqueued to the stream {name!r}: names with an @ belong to streams that "
            "`karma rematch` derives. Choose another name."
        )
