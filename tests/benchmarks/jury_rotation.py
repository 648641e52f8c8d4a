"""Judges in rotation: what labels are worth where each pair is seen by some drawn judges, against all and against one.

The judges of each pair are drawn by the product's plan, and the weights are fitted to the pairs that several judges
saw, as in a refit: with one judge a pair, to the share that all see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from karma.config.settings import StreamSettings
from karma.messages import JudgeSpec
from karma.ranking.jury import JudgeWeight, Jury, clipped_logit
from karma.ranking.snapshot import Snapshot
from karma.verdicts import a_is_better
from karma_matching.judges import plan_judges
from karma_scoring.fit.judges.jury_fit import fit_jury
from tests.benchmarks.finding import Finding
from tests.benchmarks.simulated_jury import Drawn, Member, draw

HARD = (Member("strong", 0.85), Member("middle", 0.75), Member("weak", 0.65))
SOFT = tuple(replace(each, spread=0.5 + n) for n, each in enumerate(HARD))
FIVE = tuple(Member(f"{accuracy:g}", accuracy) for accuracy in (0.85, 0.8, 0.75, 0.7, 0.65))
FIRST = (*HARD[:2], Member("names the first", 0.75, says_first=0.4))
JURIES = {"three hard": HARD, "three soft": SOFT, "five hard": FIVE, "one prefers the first": FIRST}
_PAIRS = (1_000, 10_000)


def rotation(streams: int = 10) -> list[Finding]:
    """Labels right and calls per pair by judges per pair; true: of all judges by their weights."""
    found = []
    for name, members in JURIES.items():
        for pairs in _PAIRS:
            drawn = [draw(members, pairs, seed, orders=1) for seed in range(streams)]
            full = [each.right(Jury(_weights(each))) for each in drawn]
            case = f"{name}, {pairs:,} pairs"
            found.append(_mean(f"{case}: right by the best judge alone", [each.best() for each in drawn], full))
            for number in range(1, len(members)):
                sparse = [rotated(each, number, seed) for seed, each in enumerate(drawn)]
                juries = [Jury(_weights(each)) for each in sparse]
                right = [each.right(jury) for each, jury in zip(sparse, juries, strict=True)]
                calls = [len(each.pair) / len(each.truth) for each in sparse]
                found.append(_mean(f"{case}, {number} a pair: calls per pair", calls, [_price(number, members)]))
                found.append(_mean(f"{case}, {number} a pair: right", right, full))
                found += _accuracies(f"{case}, {number} a pair", members, juries)
                if number == 1:
                    found += _alone(f"{case}, 1 a pair", sparse, juries)
    return found


def rotated(drawn: Drawn, number: int, seed: int, share: float = 0.05) -> Drawn:
    """The verdicts of the judges that the product draws for each pair."""
    stream = StreamSettings(judges_per_pair=number, all_judges_share=share)
    specs = [JudgeSpec(name=name, kind="openai") for name in drawn.names]
    asked = np.zeros((len(drawn.truth), len(specs)), dtype=bool)
    for pair in range(len(drawn.truth)):
        plan = plan_judges(stream, specs, None, Snapshot.empty(), ("s", seed, pair))
        asked[pair] = [spec.name in plan.at_once for spec in specs] if plan else True
    kept = asked[drawn.pair, drawn.judge]
    names = ("pair", "judge", "shown", "probability")
    return replace(drawn, **{name: getattr(drawn, name)[kept] for name in names})


def _weights(drawn: Drawn) -> dict[str, JudgeWeight]:
    """Fitted to the pairs that several judges saw."""
    seen = drawn.votes.present.sum(axis=1) > 1
    return fit_jury(drawn.votes.of(seen), {})


def _price(number: int, members: Sequence[Member], share: float = 0.05) -> float:
    return number + share * (len(members) - number)


def _accuracies(case: str, members: Sequence[Member], juries: Sequence[Jury]) -> list[Finding]:
    """The error of the stated accuracies, and how often their intervals hold them."""
    errors, inside = [], []
    for jury in juries:
        for member in members:
            known = jury.judges.get(member.name)
            if known is None or known.accuracy is None or known.low is None or known.high is None:
                continue
            true = member.accuracy * (1 - member.says_first) + 0.5 * member.says_first
            errors.append(abs(known.accuracy - true))
            inside.append(float(known.low <= true <= known.high))
    if not errors:
        return [_mean(f"{case}: judges whose accuracy is known", [0.0], [1.0])]
    return [
        _mean(f"{case}: error of the accuracies", errors, [0.0]),
        _mean(f"{case}: accuracy inside its interval", inside, [0.95]),
    ]


def _alone(case: str, sparse: Sequence[Drawn], juries: Sequence[Jury]) -> list[Finding]:
    """Verdicts of one judge as they are, and by its scale and offset: labels right, and log loss in bits."""
    right: dict[bool, list[float]] = {False: [], True: []}
    loss: dict[bool, list[float]] = {False: [], True: []}
    for drawn, jury in zip(sparse, juries, strict=True):
        number = np.bincount(drawn.pair, minlength=len(drawn.truth))
        rows = np.flatnonzero(number[drawn.pair] == 1)
        for weighed in (False, True):
            hits, bits = [], []
            for row in rows.tolist():
                shown, truth = int(drawn.shown[row]), drawn.truth[drawn.pair[row]]
                logit = clipped_logit(a_is_better(float(drawn.probability[row]), shown))
                known = jury.judges.get(drawn.names[drawn.judge[row]])
                if weighed and known is not None:
                    logit = known.scale * logit + known.offset * (1.0 - 2.0 * shown)
                hits.append(0.5 if logit == 0.0 else float((logit > 0.0) == (truth > 0.0)))
                bits.append(math.log1p(math.exp(-logit * truth)) / math.log(2.0))
            right[weighed].append(float(np.mean(hits)))
            loss[weighed].append(float(np.mean(bits)))
    return [
        _mean(f"{case}, verdicts alone: right by scale and offset", right[True], right[False]),
        _mean(f"{case}, verdicts alone: log loss by scale and offset, bits", loss[True], loss[False]),
    ]


def _mean(what: str, values: Sequence[float], true: Sequence[float]) -> Finding:
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Finding("rotation", what, float(np.mean(values)), float(np.mean(true)), error)
