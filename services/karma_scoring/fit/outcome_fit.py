"""Fitting the outcome model to judged pairs: Davidson's likelihood with Gaussian priors, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from karma.ranking.outcome_model import (
    FEATURES,
    OutcomeModel,
    Siblings,
    davidson_slopes,
    posterior_advantage,
    tie_probability,
    win_given_decisive,
)

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Judged pairs without which there is no model, and everything is judged.
LEAST_EXAMPLES = 200

_WEIGHT_DEVIATION = 1.0  # logits per standard deviation of a feature
_OFFSET_DEVIATION = 0.5  # logits; what a gap learnt under the gate may be wrong by
_GAP_DEVIATION = 0.5  # of the gap's weight around 1
_LOG_TIE = (float(np.log(0.5)), 1.0)  # mean and deviation of log ν, as in `competency`
_FOLDS = 5
_STEPS = 50
_CLOSE = 1e-7

# Candidates for what is learnt about siblings, and how many prompts are asked.
_VARIANCES = (2.0, 6.0, 18.0)
_SCALES = (1.0, 1.5, 2.2)
_SLOPES = tuple(np.geomspace(0.4, 4.0, 25).tolist())
_PROMPTS_ASKED = 80
_LEAST_PROMPTS = 10
_LEAST_PAIRS = 4


@dataclass(frozen=True, eq=False)
class Examples:
    """n judged pairs that came to `decisive` or `tie`. Gaps are those of the competencies now."""

    gap: Array  # logits, [n]
    contrast: Array  # [n, F]
    models_a: tuple[str, ...]
    models_b: tuple[str, ...]
    outcome: Array  # 1: a was better, −1: b was, 0: a tie, [n]
    prompt: Indices  # [n]
    response_a: Indices  # [n]
    response_b: Indices  # [n]

    def __len__(self) -> int:
        return len(self.outcome)

    def part(self, places: Indices) -> Examples:
        """Some of them."""
        return Examples(
            self.gap[places],
            self.contrast[places],
            tuple(self.models_a[place] for place in places),
            tuple(self.models_b[place] for place in places),
            self.outcome[places],
            self.prompt[places],
            self.response_a[places],
            self.response_b[places],
        )


def fit_outcome(examples: Examples) -> OutcomeModel | None:
    """The outcome model of judged pairs; None where they are too few.

    Which pairs are judged depends on nothing but what the model sees, so no weights are needed (Little & Rubin 2002,
    section 1.3: ignorable selection). Prompts are held out fold by fold to measure the calibration and to learn what a
    verdict says about the other pairs of its prompt.
    """
    if len(examples) < LEAST_EXAMPLES:
        return None
    fold = (examples.prompt * 2654435761 % (1 << 32)) % _FOLDS
    held_out = np.zeros(len(examples))
    for number in range(_FOLDS):
        inside = np.flatnonzero(fold != number)
        outside = np.flatnonzero(fold == number)
        if len(inside) and len(outside):
            part = examples.part(outside)
            fitted = _fit(examples.part(inside))
            held_out[outside] = fitted.advantage(part.gap, part.contrast, part.models_a, part.models_b)
    model = _fit(examples)
    decisive = examples.outcome != 0.0
    error = None  # of so few, the expected error of a perfect model is as large as that of a bad one
    if np.count_nonzero(decisive) >= LEAST_EXAMPLES:
        error = calibration_error(win_given_decisive(held_out[decisive]), examples.outcome[decisive] > 0.0)
    return replace(model, siblings=_siblings(examples, held_out, model.tie), calibration_error=error)


def calibration_error(probability: Array, came_true: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error (Naeini, Cooper & Hauskrecht 2015) over bins of equal width.

    Args:
        probability: predicted, [n].
        came_true: whether it came true, [n].
        bins: over [0, 1].
    """
    place = np.minimum((probability * bins).astype(np.intp), bins - 1)
    said = np.bincount(place, weights=probability, minlength=bins)
    found = np.bincount(place, weights=came_true.astype(np.float64), minlength=bins)
    return float(np.abs(said - found).sum() / max(1, len(probability)))


def _fit(examples: Examples) -> OutcomeModel:
    """The maximum of the log posterior; it is concave in all parameters.

    Features are put on one scale first. Adding a pair seen from its other side would change nothing: the likelihood is
    symmetric, and there is no intercept.
    """
    models = sorted({*examples.models_a, *examples.models_b})
    place = {model: index for index, model in enumerate(models)}
    number, rows = len(examples), np.arange(len(examples))
    scale = np.sqrt(np.mean(examples.contrast**2, axis=0))
    scale = np.where(scale > 0.0, scale, 1.0)
    features = len(FEATURES)
    design = np.zeros((number, 1 + features + len(models)))
    design[:, 0] = examples.gap
    design[:, 1 : 1 + features] = examples.contrast / scale
    design[rows, [1 + features + place[model] for model in examples.models_a]] += 1.0
    design[rows, [1 + features + place[model] for model in examples.models_b]] -= 1.0
    centre = np.zeros(design.shape[1])
    centre[0] = 1.0
    precision = np.concatenate(
        [[_GAP_DEVIATION**-2], np.full(features, _WEIGHT_DEVIATION**-2), np.full(len(models), _OFFSET_DEVIATION**-2)]
    )
    weights, log_tie = centre.copy(), _LOG_TIE[0]
    ties = float(np.sum(examples.outcome == 0.0))
    for _ in range(_STEPS):
        advantage = design @ weights
        tie = float(np.exp(log_tie))
        slope, curvature = davidson_slopes(advantage, tie)
        tied = tie_probability(advantage, tie)
        gradient = np.append(
            design.T @ (0.5 * examples.outcome - slope) - precision * (weights - centre),
            ties - tied.sum() - (log_tie - _LOG_TIE[0]) / _LOG_TIE[1] ** 2,
        )
        cross = -(design.T @ (tied * slope))  # of log z: d²/dη d(log ν) = −P(tie) × d/dη
        hessian = np.empty((len(gradient), len(gradient)))
        hessian[:-1, :-1] = design.T @ (curvature[:, None] * design) + np.diag(precision)
        hessian[:-1, -1] = hessian[-1, :-1] = cross
        hessian[-1, -1] = np.sum(tied * (1.0 - tied)) + _LOG_TIE[1] ** -2
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, 4.0 / max(1e-9, float(np.abs(step).max())))
        weights, log_tie = weights + step[:-1], log_tie + float(step[-1])
        if np.abs(step).max() < _CLOSE:
            break
    return OutcomeModel(
        gap_weight=float(weights[0]),
        weights=tuple((weights[1 : 1 + features] / scale).tolist()),
        offsets=dict(zip(models, weights[1 + features :].tolist(), strict=True)),
        tie=float(np.exp(log_tie)),
        siblings=None,
        examples=number,
        calibration_error=None,
    )


def _siblings(examples: Examples, advantage: Array, tie: float) -> Siblings | None:
    """The trust in siblings that best predicts one half of each prompt's verdicts from the other half."""
    order = np.argsort(examples.prompt, kind="stable")
    groups = [
        group
        for group in np.split(order, np.flatnonzero(np.diff(examples.prompt[order])) + 1)
        if len(group) >= _LEAST_PAIRS and _share_responses(examples, group)
    ][-_PROMPTS_ASKED:]
    if len(groups) < _LEAST_PROMPTS:
        return None
    draw = np.random.default_rng(0)
    halves = [draw.permutation(len(group)) for group in groups]
    best: tuple[float, Siblings | None] = (np.inf, None)
    for variance, scale in product(_VARIANCES, _SCALES):
        trial = Siblings(variance, scale, 1.0)
        told = []
        for group, shuffled in zip(groups, halves, strict=True):
            known, asked = shuffled[: len(group) // 2], shuffled[len(group) // 2 :]
            _names, place = np.unique(
                np.concatenate([examples.response_a[group], examples.response_b[group]]), return_inverse=True
            )
            first, second = place[: len(group)], place[len(group) :]
            outcome = examples.outcome[group]
            after = posterior_advantage(trial, tie, advantage[group], first, second, known, outcome[known])
            untouched = after[asked] == advantage[group][asked]
            told.append(np.stack([after[asked], outcome[asked], untouched]))
        after, outcome, untouched = np.concatenate(told, axis=1)
        counted = (outcome != 0.0) & (untouched == 0.0)
        for slope in _SLOPES:
            loss = float(np.logaddexp(0.0, -slope * after[counted] * outcome[counted]).mean())
            if loss < best[0]:
                best = (loss, Siblings(variance, scale, slope))
    return best[1]


def _share_responses(examples: Examples, group: Indices) -> bool:
    responses = np.concatenate([examples.response_a[group], examples.response_b[group]])
    return len(np.unique(responses)) < len(responses)
