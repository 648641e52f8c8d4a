"""Derived streams. The name of a derived stream has its base and what differs from the base.

`BASE@POLICY` has the prompts of BASE with their stored responses and pairs them by POLICY; all other settings are those
of BASE. `+2pairs` after the policy sets another number of pairs per prompt. `BASE@rejudge:JUDGE,JUDGE` has the pairs of
BASE, judged by other judges. `BASE@canaries` has pairs whose answer is known, which measure the judges of BASE. With
`+teach` the verdicts also update the competencies. Since everything is in the name, a worker needs nothing but a
message of the stream, and the same name is the same stream. Nobody can enqueue to a name with an `@`, and no pool file
can contain one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from karma.errors import SettingsError

#: Separates the base from the rest of a derived stream's name.
MARK = "@"

#: What stands for the policy of pairs that were formed in the base and are judged anew.
REJUDGE = "rejudge"
#: What stands for it in the streams of canaries: pairs whose answer is known.
CANARIES = "canaries"

_DERIVED = re.compile(r"(?P<base>[^@]+)@(?P<policy>[^@+]+)(\+(?P<pairs>[0-9]+)pairs)?(?P<teach>\+teach)?", re.DOTALL)
_JUDGES = f"{REJUDGE}:"  # begins the judges in a name; they are separated by commas


@dataclass(frozen=True)
class Derivation:
    """The base of a derived stream, and what differs from the base."""

    base: str
    policy: str  # REJUDGE: none; the pairs are those of the base
    pairs_per_prompt: int | None = None  # None: as in the base
    teaches: bool = False  # whether its verdicts update the competencies
    judges: tuple[str, ...] = ()  # of rejudged pairs; empty: those of the base

    @classmethod
    def rejudged(cls, base: str, judges: tuple[str, ...], teaches: bool = False) -> Self:
        """The pairs of `base` under other judges, whatever their order is.

        Raises:
            SettingsError: no judge is named, or the base is derived itself.
        """
        if not judges:
            raise SettingsError("no judge is named: name one with --judge")
        return cls(base, REJUDGE, None, teaches, tuple(sorted(set(judges))))

    def __post_init__(self) -> None:
        """Refuse parts that would make the name ambiguous."""
        if MARK in self.base:
            raise SettingsError(f"the stream {self.base!r} is derived itself: name the one that it comes from")
        if MARK in self.policy or "+" in self.policy:
            raise SettingsError(f"the policy {self.policy!r} cannot name a stream: it holds an @ or a +")
        if self.policy.startswith(_JUDGES):
            raise SettingsError(f"the policy {self.policy!r} cannot name a stream: it begins as judges do")
        if any(not judge or set(judge) & {MARK, "+", ","} for judge in self.judges):
            raise SettingsError(f"one of the judges {self.judges} cannot name a stream: it is empty or holds @, + or ,")

    @property
    def name(self) -> str:
        """The stream's name; `derivation` reads it."""
        pairs = "" if self.pairs_per_prompt is None else f"+{self.pairs_per_prompt}pairs"
        varied = f"{_JUDGES}{','.join(self.judges)}" if self.judges else self.policy
        return f"{self.base}{MARK}{varied}{pairs}{'+teach' if self.teaches else ''}"


@lru_cache(maxsize=1024)
def derivation(name: str) -> Derivation | None:
    """The derivation in a stream's name; None if the stream is not derived."""
    parts = _DERIVED.fullmatch(name)
    if parts is None:
        return None
    pairs, policy = parts["pairs"], parts["policy"]
    judges: tuple[str, ...] = ()
    if policy.startswith(_JUDGES):
        policy, judges = REJUDGE, tuple(policy.removeprefix(_JUDGES).split(","))
        if not all(judges):
            return None
    return Derivation(parts["base"], policy, None if pairs is None else int(pairs), parts["teach"] is not None, judges)


def canaries_of(base: str) -> str:
    """The stream of a base's canaries."""
    return Derivation(base, CANARIES).name


def holds_canaries(name: str) -> bool:
    """Whether the pairs of a stream are canaries: they measure judges, and are neither preferences nor exported."""
    return name.endswith(f"{MARK}{CANARIES}")


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
            "`karma rematch` and `karma rejudge` derive. Choose another name."
        )
