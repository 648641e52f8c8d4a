"""Derived streams. The name of a derived stream has its base and what differs from the base.

`BASE@POLICY` has the prompts of BASE with their stored responses and pairs them by POLICY; all other settings are those
of BASE. `+2pairs` after the policy sets another number of pairs per prompt. With `+teach` the verdicts also update the
competencies. Since everything is in the name, a worker needs nothing but a message of the stream, and the same name is
the same stream. Nobody can enqueue to a name with an `@`, and no pool file can contain one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from karma.errors import SettingsError

#: Separates the base from the rest of a derived stream's name.
MARK = "@"

_DERIVED = re.compile(r"(?P<base>[^@]+)@(?P<policy>[^@+]+)(\+(?P<pairs>[0-9]+)pairs)?(?P<teach>\+teach)?", re.DOTALL)


@dataclass(frozen=True)
class Derivation:
    """The base of a derived stream, and what differs from the base."""

    base: str
    policy: str
    pairs_per_prompt: int | None = None  # None: as in the base
    teaches: bool = False  # whether its verdicts update the competencies

    def __post_init__(self) -> None:
        """Refuse parts that would make the name ambiguous."""
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
    """The derivation in a stream's name; None if the stream is not derived."""
    parts = _DERIVED.fullmatch(name)
    if parts is None:
        return None
    pairs = parts["pairs"]
    return Derivation(parts["base"], parts["policy"], None if pairs is None else int(pairs), parts["teach"] is not None)


def teaches(name: str) -> bool:
    """Whether a stream's verdicts update the competencies; those of a derived stream only if its name says so."""
    derived = derivation(name)
    return derived is None or derived.teaches


def check_enqueued(name: str) -> None:
    """Refuse a name that prompts cannot be enqueued to.

    Raises:
        SettingsError: it is empty, or the name of a derived stream.
    """
    if not name.strip():
        raise SettingsError("the name of the stream is empty; name one with --stream, or leave --stream out")
    if MARK in name:
        raise SettingsError(
            f"nothing can be enqueued to the stream {name!r}: names with an @ belong to streams that "
            "`karma rematch` derives. Choose another name."
        )
