"""Fits the outcome model to judged pairs: Davidson's likelihood with Gaussian priors, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from karma.ranking.davidson import log_z_derivatives, tie_probability, win_given_decisive
from karma.ranking.outcome_model import FEATURES, OutcomeModel, ResponseEffects, posterior_advantage
from karma_scoring.fit.likelihood import Array, bordered

Indices = NDArray[np.intp]

#: Fewest judged pairs for a model; with fewer there is none, and every pair is judged.
LEAST_EXAMPLES = 200

# Prior standard deviations.
_WEIGHT_DEVIATION = 1.0  # logits per standard deviation of a feature
_OFFSET_DEVIATION = 0.5  # logits; allows for a bias of the gap that comes from judging selected pairs only
_GAP_DEVIATION = 0.5  # of the gap's weight around 1
_LOG_TIE = (float(np.log(0.5)), 1.0)  # mean and deviation of log ν, as in `competency`
_FOLDS = 5

# Lapses of the judge.
_MOST_LAPSES = 0.5
_LAPSE_EVIDENCE = 3.0  # log likelihood ratio
_LAPSE_STEPS = 12
_LAPSE_CLOSE = 2e-3
_STEPS = 50
_CLOSE = 1e-7

# Grid for the response effects, and the prompts that they are fitted to.
_VARIANCES = (2.0, 6.0, 18.0)
_SCALES = (1.0, 1.5, 2.2)
_SLOPES = tuple(np.geomspace(0.4, 4.0, 25).tolist())
_MOST_PROMPTS = 80
_LEAST_PROMPTS = 10
_LEAST_PAIRS = 4


@dataclass(frozen=True, eq=False)
class Examples:
    """n judged pairs with a valid verdict. Gaps are by the present competencies."""

    gap: Array  # logits, [n]
    relative_features: Array  # features of a minus those of b, [n, F]
    models_a: NDArray[np.str_]  # names, [n]
    models_b: NDArray[np.str_]  # names, [n]
    outcome: Array  # 1: a is better, −1: b is better, 0: no side, [n]
    prompt: Indices  # [n]
    response_a: Indices  # [n]
    response_b: Indices  # [n]

    def __len__(self) -> int:
        return len(self.outcome)

    def subset(self, indices: Indices) -> Examples:
        """The examples at these indices."""
        return Examples(**{name: column[indices] for name, column in vars(self).items()})


def fit_outcome(examples: Examples) -> OutcomeModel | None:
    """The outcome model of judged pairs; None where they are too few.

    The choice of the judged pairs depends only on variables in the model, so selection is ignorable and no weights are
    needed (Little & Rubin 2002, section 1.3). Cross-validation over prompts measures the calibration and fits the
    effects of a verdict on the other pairs of its prompt.
    """
    if len(examples) < LEAST_EXAMPLES:
        return None
    model, lapsed = _fit_with_lapses(examples)
    fold = (examples.prompt * 2654435761 % (1 << 32)) % _FOLDS
    held_out = np.zeros(len(examples))
    for number in range(_FOLDS):
        inside = np.flatnonzero(fold != number)
        outside = np.flatnonzero(fold == number)
        if len(inside) and len(outside):
            test = examples.subset(outside)
            fitted = _fit(examples.subset(inside), 1.0 - lapsed[inside])
            names = test.models_a.tolist(), test.models_b.tolist()
            held_out[outside] = fitted.advantage(test.gap, test.relative_features, *names)
    decisive = examples.outcome != 0.0
    error = None  # with few examples, even a perfect model has a large calibration error by chance
    if np.count_nonzero(decisive) >= LEAST_EXAMPLES:
        error = calibration_error(model.win(held_out[decisive]), examples.outcome[decisive] > 0.0)
    return replace(model, siblings=_fit_response_effects(examples, held_out, model), calibration_error=error)


def calibration_error(probability: Array, occurred: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error (Naeini, Cooper & Hauskrecht 2015) over bins of equal width.

    Args:
        probability: predicted, [n].
        occurred: whether the predicted event occurred, [n].
        bins: over [0, 1].
    """
    bin_of = np.minimum((probability * bins).astype(np.intp), bins - 1)
    predicted = np.bincount(bin_of, weights=probability, minlength=bins)
    observed = np.bincount(bin_of, weights=occurred.astype(np.float64), minlength=bins)
    return float(np.abs(predicted - observed).sum() / max(1, len(probability)))


def _fit_with_lapses(examples: Examples) -> tuple[OutcomeModel, Array]:
    """The model, and each verdict's probability of being a lapse, [n], by expectation-maximization (Dempster 1977).

    The judge lapses only if that explains the verdicts well: it takes a log likelihood ratio of `_LAPSE_EVIDENCE`.
    """
    model = without = _fit(examples)
    none = np.zeros(len(examples))
    decisive = examples.outcome != 0.0
    lapse, lapsed = 0.0, none
    for _ in range(_LAPSE_STEPS):
        likelihood = _likelihood(model, examples)
        before, lapse = lapse, _likeliest_lapse(likelihood, decisive)
        chance = 0.5 * lapse * decisive
        lapsed = chance / (chance + (1.0 - lapse) * likelihood)
        if abs(lapse - before) < _LAPSE_CLOSE:
            break
        model = _fit(examples, 1.0 - lapsed, model)
    gain = np.log(0.5 * lapse * decisive + (1.0 - lapse) * _likelihood(model, examples)).sum()
    if lapse == 0.0 or gain - np.log(_likelihood(without, examples)).sum() < _LAPSE_EVIDENCE:
        return without, none
    return replace(model, lapse=lapse), lapsed


def _likelihood(model: OutcomeModel, examples: Examples) -> Array:
    """The probability of each verdict if the judge does not lapse, [n]."""
    names = examples.models_a.tolist(), examples.models_b.tolist()
    eta = model.advantage(examples.gap, examples.relative_features, *names)
    tied = tie_probability(eta, model.tie)
    decisive = (1.0 - tied) * win_given_decisive(np.where(examples.outcome < 0.0, -eta, eta))
    return np.maximum(np.where(examples.outcome == 0.0, tied, decisive), 1e-12)


def _likeliest_lapse(likelihood: Array, decisive: NDArray[np.bool_]) -> float:
    """λ with the highest likelihood, which is concave in it, by bisection of its slope; at most `_MOST_LAPSES`."""
    change = 0.5 * decisive - likelihood

    def slope(lapse: float) -> float:
        return float(np.sum(change / (likelihood + lapse * change)))

    low, high = 0.0, _MOST_LAPSES
    if slope(low) <= 0.0:
        return 0.0
    while high - low > 0.1 * _LAPSE_CLOSE:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)


def _fit(examples: Examples, counted: Array | None = None, start: OutcomeModel | None = None) -> OutcomeModel:
    """The mode of the posterior; the log posterior is concave in all parameters.

    Features are standardized first. There is no intercept, because the likelihood is symmetric in a and b.

    Args:
        examples: judged pairs.
        counted: the weight of each, [n]; None: 1.
        start: a model of the same examples to begin with.
    """
    models, column = np.unique(np.stack([examples.models_a, examples.models_b]), return_inverse=True)
    first, second = column.reshape(2, -1)
    number, rows = len(examples), np.arange(len(examples))
    scale = np.sqrt(np.mean(examples.relative_features**2, axis=0))
    scale = np.where(scale > 0.0, scale, 1.0)
    features = len(FEATURES)
    design = np.zeros((number, 1 + features + len(models)))
    design[:, 0] = examples.gap
    design[:, 1 : 1 + features] = examples.relative_features / scale
    design[rows, 1 + features + first] += 1.0
    design[rows, 1 + features + second] -= 1.0
    prior_mean = np.zeros(design.shape[1])
    prior_mean[0] = 1.0
    precision = np.concatenate(
        [[_GAP_DEVIATION**-2], np.full(features, _WEIGHT_DEVIATION**-2), np.full(len(models), _OFFSET_DEVIATION**-2)]
    )
    weights, log_tie = prior_mean.copy(), _LOG_TIE[0]
    if start is not None:
        offsets = [start.offsets[name] for name in models.tolist()]
        weights = np.concatenate([[start.gap_weight], np.array(start.weights) * scale, offsets])
        log_tie = float(np.log(start.tie))
    counted = np.ones(number) if counted is None else counted
    ties = float(counted @ (examples.outcome == 0.0))
    for _ in range(_STEPS):
        advantage = design @ weights
        tie = float(np.exp(log_tie))
        slope, curvature = log_z_derivatives(advantage, tie)
        tied = tie_probability(advantage, tie)
        gradient = np.append(
            design.T @ (counted * (0.5 * examples.outcome - slope)) - precision * (weights - prior_mean),
            ties - counted @ tied - (log_tie - _LOG_TIE[0]) / _LOG_TIE[1] ** 2,
        )
        cross = -(design.T @ (counted * tied * slope))  # of log z: d²/dη d(log ν) = −P(tie) × d/dη
        tie_curvature = float(counted @ (tied * (1.0 - tied))) + _LOG_TIE[1] ** -2
        weights_curvature = design.T @ ((counted * curvature)[:, None] * design) + np.diag(precision)
        hessian = bordered(weights_curvature, cross[:, None], np.array([[tie_curvature]]))
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, 4.0 / max(1e-9, float(np.abs(step).max())))
        weights, log_tie = weights + step[:-1], log_tie + float(step[-1])
        if np.abs(step).max() < _CLOSE:
            break
    return OutcomeModel(
        gap_weight=float(weights[0]),
        weights=tuple((weights[1 : 1 + features] / scale).tolist()),
        offsets=dict(zip(models.tolist(), weights[1 + features :].tolist(), strict=True)),
        tie=float(np.exp(log_tie)),
        siblings=None,
        examples=number,
        calibration_error=None,
    )


def _fit_response_effects(examples: Examples, advantage: Array, model: OutcomeModel) -> ResponseEffects | None:
    """The parameters that best predict one half of each prompt's verdicts from the other half, by grid search."""
    order = np.argsort(examples.prompt, kind="stable")
    groups = [
        group
        for group in np.split(order, np.flatnonzero(np.diff(examples.prompt[order])) + 1)
        if len(group) >= _LEAST_PAIRS and _share_responses(examples, group)
    ][-_MOST_PROMPTS:]
    if len(groups) < _LEAST_PROMPTS:
        return None
    draw = np.random.default_rng(0)
    halves = [draw.permutation(len(group)) for group in groups]
    best: tuple[float, ResponseEffects | None] = (np.inf, None)
    for variance, scale in product(_VARIANCES, _SCALES):
        trial = ResponseEffects(variance, scale, 1.0)
        predictions = []
        for group, shuffled in zip(groups, halves, strict=True):
            known, test = shuffled[: len(group) // 2], shuffled[len(group) // 2 :]
            responses = np.stack([examples.response_a[group], examples.response_b[group]])
            first, second = np.unique(responses, return_inverse=True)[1].reshape(2, -1)
            outcome = examples.outcome[group]
            after = posterior_advantage(trial, model.tie, advantage[group], first, second, known, outcome[known])
            unchanged = after[test] == advantage[group][test]
            predictions.append(np.stack([after[test], outcome[test], unchanged]))
        after, outcome, unchanged = np.concatenate(predictions, axis=1)
        counted = (outcome != 0.0) & (unchanged == 0.0)
        for slope in _SLOPES:
            loss = -float(np.log(model.win(slope * after[counted] * outcome[counted])).mean())
            if loss < best[0]:
                best = (loss, ResponseEffects(variance, scale, slope))
    return best[1]


def _share_responses(examples: Examples, group: Indices) -> bool:
    responses = np.stack([examples.response_a[group], examples.response_b[group]])
    return len(np.unique(responses)) < responses.size
