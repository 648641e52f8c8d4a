"""Self-preference: a judge's verdicts on its own models, beside the competencies that other sources give them.

A judge that teaches the competencies also teaches what is expected of its own models, so an excess over that would be
hidden. Here the competencies are fitted to the sides of *other* judges and of references (leaving one source out;
Stone 1974, Journal of the Royal Statistical Society B 36, 111–147), in the streams that they share with the judge. The
judge may be sharper or blunter than those: its own verdicts between other models say by which factor the gaps count
for it, a logistic regression through the origin.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from karma.ranking.connectedness import components
from karma.ranking.self_preference import MOST_ERROR, SelfPreference
from karma.ranking.verdict_weights import PromptPair, prompt_weight
from karma.store.judged_pairs import JudgedPair
from karma_scoring.fit.competency import Posterior, Prior, fit
from karma_scoring.fit.likelihood import Array, Counts, Indices

#: Prior standard deviation of a judge's sharpness around 1, that of the other sources.
_SHARPNESS_DEVIATION = 0.5
_SHARPNESS_RANGE = (0.05, 5.0)
_NEWTON_STEPS = 20


def self_preference(
    pairs: Sequence[JudgedPair], judge: str, own: Collection[str], others: Collection[str]
) -> SelfPreference:
    """The excess of own wins of one judge over what the other sources expect.

    Args:
        pairs: judged by it, by others, or by both.
        judge: its name.
        own: its own models.
        others: judges whose verdicts the competencies may be fitted to.
    """
    told = [(pair, share) for pair in pairs if (share := _share_for_a(pair, others)) is not None]
    streams = {pair.stream for pair, _share in told}
    mine = [pair for pair in pairs if judge in pair.sides]
    verdicts = sum(_is_own(pair, own) for pair in mine)
    mine = [pair for pair in mine if pair.stream in streams]
    if not verdicts:
        return SelfPreference(0, unknown="no verdict on its own models yet")
    known = _competencies(told)
    group = _groups(known)
    held = [pair for pair in mine if group.get(pair.model_a, -1) == group.get(pair.model_b, -2)]
    sides = _sides(held, judge, own, known)
    if not sides.is_own.any():
        return SelfPreference(verdicts, unknown="no other judge or reference compares its own models with the others")
    excess, error = _excess(sides, known)
    if error > MOST_ERROR:
        why = f"too few verdicts: the standard error is {100 * error:.1f} points"
        return SelfPreference(verdicts, None, error, why)
    return SelfPreference(verdicts, excess, error)


def _share_for_a(pair: JudgedPair, others: Collection[str]) -> float | None:
    """The share of the other judges and the reference that prefer response a; None if none takes a side."""
    sides = [side for name, side in pair.sides.items() if name in others]
    if pair.quality_a is not None and pair.quality_b is not None and (pair.quality_a > 0.5) != (pair.quality_b > 0.5):
        sides.append(1 if pair.quality_a > 0.5 else -1)
    return sides.count(1) / len(sides) if sides else None


def _is_own(pair: JudgedPair, own: Collection[str]) -> bool:
    return (pair.model_a in own) != (pair.model_b in own)


def _groups(known: Posterior) -> dict[str, int]:
    """Model → its group: models that a chain of the other sources' comparisons connects."""
    joined = known.comparisons[0, :-1, :-1] > 0.0
    return {
        known.models[column]: number for number, group in enumerate(components(joined)) for column in group.tolist()
    }


def _weights(pairs: Sequence[JudgedPair]) -> Array:
    """How many independent comparisons each pair counts as, [n] (`karma.ranking.verdict_weights`)."""
    groups: dict[int, list[PromptPair]] = {}
    for pair in pairs:
        groups.setdefault(pair.prompt, []).append(PromptPair(pair.prompt, pair.response_a, pair.response_b, 1))
    share = {prompt: prompt_weight(group).formed for prompt, group in groups.items()}
    return np.array([share[pair.prompt] for pair in pairs], dtype=np.float64)


def _competencies(told: Sequence[tuple[JudgedPair, float]]) -> Posterior:
    """The competencies by the other sources. They count once for each pair, and only the sides that they took."""
    pairs = [pair for pair, _share in told]
    models = sorted({pair.model_a for pair in pairs} | {pair.model_b for pair in pairs})
    skills = sorted({pair.skill for pair in pairs if pair.skill is not None})
    column = {model: index for index, model in enumerate(models)}
    row: dict[str | None, int] = {None: -1, **{skill: index for index, skill in enumerate(skills)}}
    weight, for_a = _weights(pairs), np.array([share for _pair, share in told], dtype=np.float64)
    counts = Counts(
        skill=np.array([row[pair.skill] for pair in pairs], dtype=np.int64),
        first=np.array([column[pair.model_a] for pair in pairs], dtype=np.int64),
        second=np.array([column[pair.model_b] for pair in pairs], dtype=np.int64),
        wins_first=weight * for_a,
        wins_second=weight * (1.0 - for_a),
        ties=np.zeros(len(pairs)),
    )
    return fit(counts, models, skills, Prior())


@dataclass(frozen=True, eq=False)
class _Sides:
    """One judge's sides, [n], seen from its own model where the pair has one."""

    won: Array  # 1 if the model seen from won, else 0
    model: Indices  # index of that model
    rival: Indices
    row: Indices  # of the competencies
    is_own: Indices  # booleans
    weight: Array
    prompt: Indices

    def where(self, chosen: Indices) -> _Sides:
        """Some of them."""
        return _Sides(*(getattr(self, name)[chosen] for name in _Sides.__dataclass_fields__))


def _sides(pairs: Sequence[JudgedPair], judge: str, own: Collection[str], known: Posterior) -> _Sides:
    column = {model: index for index, model in enumerate(known.models)}
    row: dict[str | None, int] = {None: 0, **{skill: 1 + index for index, skill in enumerate(known.skills)}}
    turned = [_is_own(pair, own) and pair.model_b in own for pair in pairs]
    first, second = (_indices(column[getattr(pair, name)] for pair in pairs) for name in ("model_a", "model_b"))
    won = [(pair.sides[judge] > 0) != turn for pair, turn in zip(pairs, turned, strict=True)]
    turn = np.array(turned, dtype=bool)
    return _Sides(
        won=np.array(won, dtype=np.float64),
        model=np.where(turn, second, first),
        rival=np.where(turn, first, second),
        row=_indices(row.get(pair.skill, 0) for pair in pairs),
        is_own=np.array([_is_own(pair, own) for pair in pairs], dtype=bool),
        weight=_weights(pairs),
        prompt=_indices(pair.prompt for pair in pairs),
    )


def _indices(values: Iterable[int]) -> Indices:
    return np.array(list(values), dtype=np.int64)


def _gaps(sides: _Sides, known: Posterior) -> tuple[Array, Array]:
    """Mean and variance of the gaps by the other sources, logits and their squares."""
    row, model, rival, covariance = sides.row, sides.model, sides.rival, known.covariance
    variance = covariance[row, model, model] + covariance[row, rival, rival] - 2.0 * covariance[row, model, rival]
    return known.mean[row, model] - known.mean[row, rival], np.maximum(variance, 0.0)


def _win(gap: Array, variance: Array, sharpness: float) -> Array:
    """E[σ(s gap)] of a Gaussian gap (MacKay 1992, Neural Computation 4, 720–736, equation 10)."""
    attenuated = sharpness * gap / np.sqrt(1.0 + np.pi / 8.0 * sharpness**2 * variance)
    win: Array = 1.0 / (1.0 + np.exp(-attenuated))
    return win


def _sharpness(sides: _Sides, known: Posterior) -> tuple[float, float]:
    """The factor by which gaps count for this judge, and its variance, from pairs without a model of its own."""
    (gap, variance), weight = _gaps(sides, known), sides.weight
    value, precision = 1.0, _SHARPNESS_DEVIATION**-2.0
    for _ in range(_NEWTON_STEPS):
        win = _win(gap, variance, value)
        slope = float(weight @ ((sides.won - win) * gap)) - (value - 1.0) * _SHARPNESS_DEVIATION**-2.0
        precision = float(weight @ (win * (1.0 - win) * gap**2)) + _SHARPNESS_DEVIATION**-2.0
        value = float(np.clip(value + slope / precision, *_SHARPNESS_RANGE))
    return value, 1.0 / precision


def _excess(sides: _Sides, known: Posterior) -> tuple[float, float]:
    """Share of own wins minus its expectation, and the standard error of the difference.

    Its variance adds that of the verdicts, clustered by prompt (Liang & Zeger 1986, Biometrika 73, 13–22) and at least
    binomial; that of the competencies, by the delta method, with errors of several skills taken as one; and that of the
    sharpness.
    """
    sharpness, of_sharpness = _sharpness(sides.where(~sides.is_own), known)
    own = sides.where(sides.is_own)
    gap, variance = _gaps(own, known)
    win, number = _win(gap, variance, sharpness), len(own.won)
    residual = own.won - win
    excess = float(residual.mean())
    _, cluster = np.unique(own.prompt, return_inverse=True)
    clustered = float(np.sum(np.bincount(cluster, weights=residual - excess) ** 2))
    of_verdicts = max(clustered, float(np.sum(win * (1.0 - win)))) / number**2
    slope = win * (1.0 - win)
    deviation = 0.0
    for row in np.unique(own.row):
        gradient, chosen = np.zeros(known.mean.shape[1]), own.row == row
        np.add.at(gradient, own.model[chosen], sharpness * slope[chosen] / number)
        np.add.at(gradient, own.rival[chosen], -sharpness * slope[chosen] / number)
        deviation += float(np.sqrt(max(0.0, gradient @ known.covariance[row] @ gradient)))
    by_sharpness = float(np.mean(slope * gap)) ** 2 * of_sharpness
    return excess, float(np.sqrt(of_verdicts + deviation**2 + by_sharpness))
