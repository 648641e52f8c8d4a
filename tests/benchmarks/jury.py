"""Juries: labels of several judges by their weights, against the mean and against the best single judge.

    python -m tests.benchmarks.jury [CASE …] [--json OUT]

`copies`: three judges of different strength, two copies of the weakest, and one that always says "first"; no
references. `soft`: two good soft judges, whose probabilities are near a half, beside a hard one. `accuracies`: how
often the intervals of the judges' accuracies contain the truth. `agreement`: the same of intervals of the agreement
with people. `sparse`: each pair is judged by few of the judges; `true` is by weights from 10,000 pairs judged by all.
`self-preference`: a judge that adds one logit to its own model. `cost`: what estimating the weights takes in a store
with 100,000 judged pairs. `family`: members of the tiny family judge by likelihood. `rotation`: some drawn judges a
pair, against all. A label without a side
counts as half right; figures are means over streams ± their standard error, and `true` of right labels is that of the
best single judge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from karma.ranking.jury import Jury
from karma_scoring.fit.judges.self_preference import self_preference
from tests.benchmarks.finding import Finding, run_cases
from tests.benchmarks.hard_judges import OwnJudge
from tests.benchmarks.human_agreement import agreement
from tests.benchmarks.jury_cost import cost
from tests.benchmarks.jury_family import family
from tests.benchmarks.jury_rotation import rotation
from tests.benchmarks.simulated_jury import Drawn, Member, draw, weights_of

_STREAMS = 20
_SMALL_STREAMS = 20_000  # pairs of all streams together, where streams have few: these differ more
_PAIRS = (100, 300, 1_000, 3_000, 10_000)

THREE = (Member("strong", 0.85), Member("middle", 0.75), Member("weak", 0.65))
FIRST = Member("first", says_first=1.0)
COPIES = (*THREE, *(Member(f"copy {n}", 0.65, copies="weak") for n in (1, 2)), FIRST)
SOFT = (Member("soft 1", 0.85, spread=0.2), Member("soft 2", 0.85, spread=0.2), Member("hard", 0.6))


def copies(streams: int = _STREAMS) -> list[Finding]:
    """Copies of a weak judge, and a judge that names a position."""
    found = []
    for orders in (2, 1):
        for pairs in _PAIRS:
            name = f"{pairs:,} pairs, {'both orders' if orders == 2 else 'one order'}"
            seeds = range(max(streams, _SMALL_STREAMS // pairs))
            drawn = [draw(COPIES, pairs, seed, orders) for seed in seeds]
            found += _labels("copies", name, drawn)
            single = [weights_of(draw((*THREE, FIRST), pairs, seed, orders))["weak"].weight for seed in seeds]
            fitted = [weights_of(each) for each in drawn]
            first = [weights["first"].weight for weights in fitted]
            three = [sum(weights[each].weight for each in ("weak", "copy 1", "copy 2")) for weights in fitted]
            found.append(_mean("copies", f"{name}: weight of the one that says first, at most", [max(first)], 0.0))
            ratios = [one / other for one, other in zip(three, single, strict=True)]
            found.append(_mean("copies", f"{name}: weight of three copies, of one alone", ratios, 1.0))
    return found


def soft(streams: int = _STREAMS) -> list[Finding]:
    """Soft judges beside a hard one."""
    found = []
    for pairs in _PAIRS:
        found += _labels("soft", f"{pairs:,} pairs", [draw(SOFT, pairs, seed) for seed in range(streams)])
    return found


def sparse(streams: int = _STREAMS) -> list[Finding]:
    """Each pair is judged by one or two of the judges, drawn, and one pair in ten by all."""
    found = []
    for asked in (1, 2):
        for pairs in _PAIRS[2:]:
            name = f"{pairs:,} pairs, {asked} of 6 judges"
            right, mean, best, same = [], [], [], []
            for seed in range(streams):
                drawn = draw(COPIES, pairs, seed, judges_per_pair=asked, by_all=0.1)
                weights = weights_of(drawn)
                several = drawn.votes.present.sum(axis=1) > 1.0
                right.append(float(drawn.each_right(Jury(weights))[several].mean()))
                mean.append(float(drawn.each_right(None)[several].mean()))
                same.append(float(max(weights, key=lambda judge: weights[judge].weight) == "strong"))
                known = weights_of(draw(COPIES, 10_000, 1_000 + seed))
                best.append(float(drawn.each_right(Jury(known))[several].mean()))
            found.append(_mean("sparse", f"{name}: labels right, weighed", right, float(np.mean(best))))
            found.append(_mean("sparse", f"{name}: labels right, mean", mean, float(np.mean(best))))
            found.append(_mean("sparse", f"{name}: the best judge has the largest weight", same, 1.0))
    return found


def accuracies(streams: int = _STREAMS) -> list[Finding]:
    """How often the 95 % intervals of the judges' accuracies contain it, and how wide they are."""
    juries = {
        "three": THREE,
        "with copies": COPIES[:-1],
        "five alike": tuple(Member(f"{n}", 0.75) for n in range(5)),
        "two": THREE[::2],
    }
    found = []
    for name, members in juries.items():
        for pairs in _PAIRS[1:]:
            inside, width = [], []
            for seed in range(streams):
                weights = weights_of(draw(members, pairs, seed))
                for member in members:
                    low, high = weights[member.name].low or 0.0, weights[member.name].high or 1.0
                    inside.append(float(low <= member.accuracy <= high))
                    width.append(high - low)
            found.append(_mean("accuracies", f"{name}, {pairs:,} pairs: inside the interval", inside, 0.95))
            found.append(_mean("accuracies", f"{name}, {pairs:,} pairs: width of the interval", width, 0.0))
    return found


def self_preferences(streams: int = 50) -> list[Finding]:
    """A judge that adds one logit to its own model: said within 5 points, or unknown where nothing tells."""
    found = []
    for name, case in {
        "the only judge": OwnJudge(judged="alone"),
        "a second judge": OwnJudge(),
        "a reference for a quarter of pairs": OwnJudge(judged="alone", pairs=10_000, referenced=0.25),
        "a reference, few pairs": OwnJudge(judged="alone", pairs=400, referenced=0.25),
        "no bias, a second judge": OwnJudge(inflated=0.0),
        "no bias, a reference": OwnJudge(judged="alone", inflated=0.0, pairs=10_000, referenced=0.25),
    }.items():
        errors, covered, unknown = [], [], 0
        for seed in range(streams):
            pairs, truth = case.draw(1_000 + seed)
            known = self_preference(pairs, "j", {"m0"}, {"k"})
            if known.excess is None or known.low is None or known.high is None:
                unknown += 1
                continue
            errors.append(100.0 * (known.excess - truth))
            covered.append(float(known.low <= truth <= known.high))
        found.append(Finding("self-preference", f"{name}: unknown, of {streams}", unknown, 0.0, 0.0))
        if errors:
            found.append(_mean("self-preference", f"{name}: error, points", errors, 0.0))
            worst = max(map(abs, errors))
            found.append(_mean("self-preference", f"{name}: worst error, points", [worst], 0.0))
            within = [float(abs(error) <= 5.0) for error in errors]
            found.append(_mean("self-preference", f"{name}: within 5 points", within, 1.0))
            found.append(_mean("self-preference", f"{name}: inside the interval", covered, 0.95))
    return found


def _labels(case: str, name: str, drawn: Sequence[Drawn]) -> list[Finding]:
    """Right labels by the weights, by the mean, and by the best judge, which is the first; true: the latter.

    The best judge of a stream's own pairs is chosen with hindsight, which flatters it where there are few.
    """
    best = [float(each.right_alone()[:, 0].mean()) for each in drawn]
    hindsight = [each.best() for each in drawn]
    weighed = [each.right(Jury(weights_of(each))) for each in drawn]
    mean = [each.right(None) for each in drawn]
    beyond = [100.0 * (one - other) for one, other in zip(weighed, best, strict=True)]
    return [
        _mean(case, f"{name}: labels right, weighed", weighed, float(np.mean(best))),
        _mean(case, f"{name}: labels right, mean", mean, float(np.mean(best))),
        _mean(case, f"{name}: weighed − best judge, points", beyond, 0.0),
        _mean(case, f"{name}: best judge with hindsight", hindsight, float(np.mean(best))),
    ]


def _mean(case: str, what: str, values: Sequence[float], true: float) -> Finding:
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Finding(case, what, float(np.mean(values)), true, error)


CASES: dict[str, Callable[[], list[Finding]]] = {
    "copies": copies,
    "soft": soft,
    "sparse": sparse,
    "accuracies": accuracies,
    "agreement": agreement,
    "self-preference": self_preferences,
    "cost": cost,
    "family": family,
    "rotation": rotation,
}


def main() -> None:
    """The command line."""
    run_cases(__doc__, CASES, 66)


if __name__ == "__main__":
    main()
