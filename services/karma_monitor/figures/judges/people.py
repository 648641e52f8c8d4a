"""Judges against people: how often each judge prefers the response that people prefer, on the pairs that people judged.

Both take their side by how they prefer one response, by however little; pairs on which either prefers none are counted
apart. Where several people judged a pair, their majority counts. Intervals are Wilson's: of those compared
(`python -m tests.benchmarks.jury agreement`), their coverage stays nearest 95 %. Pairs of one prompt are not
independent, so the number of pairs is divided by the design effect of prompts (Kish 1965, Survey Sampling, section 5.4;
Korn & Graubard 1998, Survey Methodology 24, 193–201).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from karma.ranking.verdict_sources import HUMAN
from karma.store.jury_verdicts import JuryVerdict, human_verdicts
from karma.verdicts import opinions
from karma_monitor.figures.intervals import wilson

#: Most pairs that are compared: the newest that people judged.
PAIRS = 10_000
#: Width of the interval, as a share, for which the number of further labels is said.
WIDTH = 0.1
#: Certainties of a judge at which the bins of its calibration end.
_BINS = (0.6, 0.7, 0.8, 0.9, 1.0)
#: Fewest pairs behind a design effect; with fewer it is 1.
_LEAST_FOR_EFFECT = 20
_MOST_SKILLS = 50
_Z95 = 1.959964


class Compared(NamedTuple):
    """A judge's opinion beside that of people, on a pair on which both prefer a response."""

    prompt: int
    skill: str
    certainty: float  # P(the response that the judge prefers is better), by the judge
    agrees: bool


def people_figures(connection: Connection, stream: str | None = None, width: float = WIDTH) -> dict[str, Any] | None:
    """The agreement of each judge with people; None without a verdict of a person.

    Args:
        connection: of a transaction.
        stream: only its pairs.
        width: of the interval, for which the number of further labels is said.
    """
    found = human_verdicts(connection, PAIRS)
    pairs = {pair.id: pair for pair in found.pairs if stream in (None, pair.stream)}
    by_pair: dict[int, list[JuryVerdict]] = defaultdict(list)
    for verdict in found.verdicts:
        if verdict.pair in pairs:
            by_pair[verdict.pair].append(verdict)
    if not by_pair:
        return None
    compared: dict[str, list[Compared]] = defaultdict(list)
    ties: Counter[str] = Counter()
    undecided = 0
    for id_, given in by_pair.items():
        label = _preferred([each for each in given if each.template_hash == HUMAN])
        undecided += label == 0
        for judge, a_better in _of_judges(given).items():
            if a_better == 0.5:
                ties[judge] += 1
            elif label:
                agrees = (a_better > 0.5) == (label > 0)
                pair = pairs[id_]
                compared[judge].append(Compared(pair.prompt, pair.skill or "", max(a_better, 1 - a_better), agrees))
    people = Counter(each.judge for given in by_pair.values() for each in given if each.template_hash == HUMAN)
    return {
        "pairs": len(by_pair),
        "undecided": undecided,
        "people": dict(people.most_common()),
        "width": width,
        "judges": {
            judge: judge_figures(compared[judge], ties[judge], width) for judge in sorted(compared.keys() | ties.keys())
        },
    }


def judge_figures(compared: Sequence[Compared], ties: int, width: float = WIDTH) -> dict[str, Any]:
    """The figures of one judge."""
    skills: dict[str, list[Compared]] = defaultdict(list)
    for one in compared:
        skills[one.skill].append(one)
    named = sorted((name for name in skills if name), key=lambda name: (-len(skills[name]), name))[:_MOST_SKILLS]
    return {
        **agreement(compared),
        "ties": ties,
        "labels_needed": labels_needed(compared, width),
        "skills": {name: agreement(skills[name]) for name in named},
        "calibration": calibration(compared),
    }


def agreement(compared: Iterable[Compared]) -> dict[str, Any]:
    """The share of pairs on which judge and people agree, with its 95 % interval; None without a pair."""
    given = list(compared)
    agreed = sum(one.agrees for one in given)
    effect = design_effect(given)
    low, high = wilson(agreed / effect, len(given) / effect) if given else (None, None)
    share = agreed / len(given) if given else None
    return {"pairs": len(given), "agreed": agreed, "share": share, "low": low, "high": high, "design_effect": effect}


def design_effect(compared: Sequence[Compared]) -> float:
    """By how much pairs of common prompts widen the variance of the share, at least 1.

    The variance clustered by k prompts, Σ (Σ of a prompt (x − share))² / n² × k / (k − 1), over share (1 − share) / n.
    """
    number = len(compared)
    prompts: dict[int, float] = defaultdict(float)
    if number < _LEAST_FOR_EFFECT:
        return 1.0
    share = sum(one.agrees for one in compared) / number
    for one in compared:
        prompts[one.prompt] += one.agrees - share
    if len(prompts) in (1, number) or share in (0.0, 1.0):
        return 1.0
    clustered = sum(each * each for each in prompts.values()) * len(prompts) / (len(prompts) - 1)
    return max(1.0, clustered / (number * share * (1.0 - share)) * _quantile_ratio(len(prompts) - 1) ** 2)


def _quantile_ratio(freedom: int) -> float:
    """t / z at 97.5 %: a variance from few prompts is itself uncertain (Cornish & Fisher 1937, expanded once)."""
    return 1.0 + (_Z95**2 + 1.0) / (4.0 * freedom)


def calibration(compared: Iterable[Compared]) -> list[dict[str, Any]]:
    """By how certain the judge was, the share of pairs on which people agree; bins without a pair are left out.

    A judge that is calibrated agrees as often as its `certainty`, the mean of the bin, says.
    """
    bins: dict[float, list[Compared]] = defaultdict(list)
    for one in compared:
        bins[next(end for end in _BINS if one.certainty <= end or end == _BINS[-1])].append(one)
    rows, start = [], 0.5
    for end in _BINS:
        if given := bins.get(end):
            certainty = sum(one.certainty for one in given) / len(given)
            rows.append({"from": start, "to": end, "certainty": certainty, **agreement(given)})
        start = end
    return rows


def labels_needed(compared: Sequence[Compared], width: float) -> int:
    """How many more labels a 95 % interval of this width takes, if the share stays as it is; a half before any.

    Wilson's interval has the width 2 z √(p(1 − p)/n + z²/4n²) / (1 + z²/n), which falls with n.
    """
    number, effect = len(compared), design_effect(compared)
    share = sum(one.agrees for one in compared) / number if number else 0.5
    most = 1
    while _width(share, most) > width:
        most *= 2
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if _width(share, middle) > width else (least, middle)
    return max(0, math.ceil(most * effect) - number)


def _width(share: float, number: int) -> float:
    low, high = wilson(share * number, number)
    return high - low


def _preferred(given: Sequence[JuryVerdict]) -> int:
    """1 if most people prefer response a, −1 for b, 0 for neither."""
    sides = [(each.a_better > 0.5) - (each.a_better < 0.5) for each in opinions(given)]
    return (sum(sides) > 0) - (sum(sides) < 0)


def _of_judges(given: Sequence[JuryVerdict]) -> Mapping[str, float]:
    """P(a is better) by each judge, mean over its orders."""
    asked = [each for each in given if each.template_hash != HUMAN]
    return {each.judge: each.a_better for each in opinions(asked)}
