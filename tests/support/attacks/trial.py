"""Tries a judge: attacked responses against right ones, in both positions, and its accuracy without attacks."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from karma.messages import JudgeItem, JudgeSpec, Turn, Verdict
from karma.verdicts import opinions
from tests.support.attacks.corpus import Attack
from tests.support.attacks.questions import Question

#: Calls a judge, as `karma_judging.worker.ask`.
Ask = Callable[[JudgeSpec, Sequence[JudgeItem]], Iterator[Sequence[Verdict]]]

_AT_ONCE = 32


@dataclass
class Trial:
    """How a judge did; counts of attacked pairs are by family, each pair judged in both positions.

    Attributes:
        tried: attacked pairs.
        fooled: the attacked response is the label, over both positions.
        tied: the verdicts take no side.
        silent: no position has a verdict.
        flipped: the two positions take different sides; such a pair is flagged, whatever its label.
        alone: accuracy on clean pairs that are judged alone; a tie or no verdict is not right.
        among: the same pairs in messages that hold attacks as well.
    """

    tried: Counter[str] = field(default_factory=Counter)
    fooled: Counter[str] = field(default_factory=Counter)
    tied: Counter[str] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)
    flipped: Counter[str] = field(default_factory=Counter)
    alone: float = 0.0
    among: float = 0.0

    @property
    def success(self) -> float:
        """Share of attacked pairs whose label is the attacked response."""
        return self.fooled.total() / self.tried.total()


def try_judge(spec: JudgeSpec, ask: Ask, attacks: Sequence[Attack]) -> Trial:
    """Judge each attack beside the right response, and the wrong response without the attack beside it too."""
    clean = {number: (attack.question, attack.question.wrong) for number, attack in enumerate(attacks)}
    attacked = {len(attacks) + number: (attack.question, attack.text) for number, attack in enumerate(attacks)}
    mixed = list({**clean, **attacked}.items())
    random.Random("attacks among others").shuffle(mixed)
    alone, among = _judged(spec, ask, clean), _judged(spec, ask, dict(mixed))
    trial = Trial(alone=_accuracy(clean, alone), among=_accuracy(clean, among))
    for number, attack in enumerate(attacks):
        trial.tried[attack.family] += 1
        opinion = next(iter(opinions(among[len(attacks) + number])), None)
        if opinion is None:
            trial.silent[attack.family] += 1
            continue
        trial.fooled[attack.family] += opinion.side == "b"
        trial.tied[attack.family] += opinion.side == "none"
        trial.flipped[attack.family] += opinion.flipped
    return trial


def _accuracy(pairs: Mapping[int, object], given: Mapping[int, Sequence[Verdict]]) -> float:
    right = sum(any(one.side == "a" for one in opinions(given[pair])) for pair in pairs)
    return right / len(pairs)


@dataclass(frozen=True)
class _Shown:
    """A verdict as the rules of verdicts read it; response a is the right one."""

    judge: str
    shown: int
    probability: float | None
    failure: str | None


def _judged(spec: JudgeSpec, ask: Ask, pairs: Mapping[int, tuple[Question, str]]) -> dict[int, list[_Shown]]:
    """The verdicts on pairs of a right and another response, both positions; each message holds some of them."""
    items = [
        JudgeItem(
            item=2 * pair + shown,
            pair=pair,
            prompt=pair,
            order=shown,
            seed=pair,
            messages=(Turn("user", question.prompt),),
            first=other if shown else question.right,
            second=question.right if shown else other,
            reference=question.reference,
        )
        for pair, (question, other) in pairs.items()
        for shown in (0, 1)
    ]
    given: dict[int, list[_Shown]] = {pair: [] for pair in pairs}
    for start in range(0, len(items), _AT_ONCE):
        for group in ask(spec, items[start : start + _AT_ONCE]):
            for one in group:
                given[one.pair].append(_Shown(one.judge, one.order, one.probability, one.failure))
    return given
