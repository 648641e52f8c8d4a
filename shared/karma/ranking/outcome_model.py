"""The outcome model: predicts the verdict on a pair from the models' competencies and the two responses.

The verdict follows Davidson's model (`davidson`) with the advantage η of response a in place of the gap:

    P(a better) = e^{η/2} / z,   P(tie) = ν / z,   P(b better) = e^{−η/2} / z,   z = 2 cosh(η/2) + ν

A judge lapses with a probability λ and then takes either side by chance (Wichmann & Hill 2001, Perception &
Psychophysics 63, 1293–1313), so that no pair is ever certain: P(a better | decisive) = λ/2 + (1 − λ) σ(η).

η is linear in the competency gap, in the relative features of the responses, and in one offset per model.
`karma_scoring.fit.predictions.outcome_fit` fits it; this module predicts.

Pairs of one prompt share responses, so a verdict on one pair is evidence about the others. Each response has a random
effect u ~ N(0, σ²) that is added to η. `posterior_advantage` is η given the prompt's other verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.ranking.davidson import Array, log_z_derivatives, win_given_decisive

Indices = NDArray[np.intp]

#: Features of a response relative to the other responses to its prompt, as
#: `karma_matching.budget.relative_features` computes them.
FEATURES = (
    "characters",
    "words",
    "sentences",
    "words_per_sentence",
    "lexical_variety",
    "list_items",
    "headings",
    "code_blocks",
    "digit_share",
    "capital_share",
    "agreement",
    "prompt_overlap",
    "finished",
)

#: The judge budget's reason to judge pairs while there is no outcome model.
UNPREDICTED = "too little is known to predict"

_STEPS = 30
_CLOSE = 1e-6
_CLIP = 1e-6  # a probability of 0 or 1 has no logit


@dataclass(frozen=True)
class ResponseEffects:
    """Parameters of the response effects, by which a prompt's other verdicts count; fitted to held-out verdicts."""

    variance: float  # σ² of a response's effect
    scale: float  # of η when the effects are in the model: a coefficient conditional on them is larger than without
    slope: float  # from the updated advantage, shrunk by its remaining variance, to logits


@dataclass(frozen=True, eq=False)
class OutcomeModel:
    """A fitted outcome model."""

    gap_weight: float  # logits per logit of competency gap
    weights: tuple[float, ...]  # logits per unit of each of `FEATURES`
    offsets: Mapping[str, float]  # logits by model; 0 for a model without one
    tie: float  # Davidson's ν
    siblings: ResponseEffects | None  # None where too few prompts have several judged pairs
    examples: int  # judged pairs that it was fitted to
    calibration_error: float | None  # expected, of P(a better | decisive) on held-out pairs; None: too few pairs
    lapse: float = 0.0  # λ, share of decisive verdicts on a side by chance

    def win(self, advantage: Array) -> Array:
        """P(a better | decisive) at these η."""
        return 0.5 * self.lapse + (1.0 - self.lapse) * win_given_decisive(advantage)

    def advantage_at(self, win: Array) -> Array:
        """η at which P(a better | decisive) is this; it may be by an earlier model with a smaller λ."""
        probability = np.clip((win - 0.5 * self.lapse) / (1.0 - self.lapse), _CLIP, 1.0 - _CLIP)
        eta: Array = np.log(probability / (1.0 - probability))
        return eta

    def advantage(
        self, gap: Array, relative_features: Array, models_a: Sequence[str], models_b: Sequence[str]
    ) -> Array:
        """η of n pairs, logits.

        Args:
            gap: competency of a's model minus b's, logits, [n].
            relative_features: features of a minus those of b, [n, F].
            models_a: names, n.
            models_b: names, n.
        """
        offset = np.array(
            [self.offsets.get(a, 0.0) - self.offsets.get(b, 0.0) for a, b in zip(models_a, models_b, strict=True)]
        )
        eta: Array = self.gap_weight * gap + relative_features @ self._weights + offset
        return eta

    def deviation(self, gap_deviation: Array) -> Array:
        """Standard deviation of η due to the uncertainty of the competencies, [n]."""
        return abs(self.gap_weight) * gap_deviation

    @cached_property
    def _weights(self) -> Array:
        return np.array(self.weights)

    def to_dict(self) -> dict[str, Any]:
        """The model as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> OutcomeModel:
        """The model from the result of `to_dict`, also after a round trip through JSON."""
        siblings = fields["siblings"] and ResponseEffects(**fields["siblings"])
        return cls(**{**fields, "weights": tuple(fields["weights"]), "siblings": siblings})


def fit_effects(
    advantage: Array, first: Indices, second: Indices, outcome: Array, tie: float, variance: float
) -> tuple[Array, Array]:
    """Mean [R] and covariance [R, R] of the effects of one prompt's R responses given n verdicts.

    The posterior is approximated by a Gaussian around its mode (Laplace), which Newton's method finds: the log
    posterior is concave.

    Args:
        advantage: of each pair without the effects, logits, [n].
        first: index of response a, [n].
        second: index of response b, [n].
        outcome: 1 where a is better, −1 where b is better, 0 for a tie, [n].
        tie: Davidson's ν.
        variance: prior variance σ² of each effect.
    """
    size = int(max(first.max(initial=-1), second.max(initial=-1))) + 1
    design = np.zeros((len(first), size))
    rows = np.arange(len(first))
    design[rows, first] = 1.0
    design[rows, second] = -1.0
    mean: Array = np.zeros(size)
    prior = np.eye(size) / variance
    for _ in range(_STEPS):
        slope, curvature = log_z_derivatives(advantage + design @ mean, tie)
        precision = prior + design.T @ (curvature[:, None] * design)
        step = np.linalg.solve(precision, design.T @ (0.5 * outcome - slope) - mean / variance)
        mean = mean + np.clip(step, -2.0, 2.0)
        if np.abs(step).max(initial=0.0) < _CLOSE:
            break
    _, curvature = log_z_derivatives(advantage + design @ mean, tie)
    precision = prior + design.T @ (curvature[:, None] * design)
    return mean, np.linalg.inv(precision).astype(np.float64, copy=False)


def posterior_advantage(
    effects: ResponseEffects,
    tie: float,
    advantage: Array,
    first: Indices,
    second: Indices,
    judged: Indices,
    outcome: Array,
) -> Array:
    """η of all n pairs of a prompt given the verdicts on some of them, [n].

    The updated advantage is shrunk by its remaining variance (MacKay 1992, Neural Computation 4, 720–736) and rescaled
    to logits by the fitted slope. A pair that shares no response with a judged pair keeps its advantage.

    Args:
        effects: the fitted parameters.
        tie: Davidson's ν.
        advantage: η without the verdicts, [n].
        first: index of response a among the prompt's responses, [n].
        second: index of response b, [n].
        judged: indices of the pairs with a verdict, [k]; to predict a judged pair, leave it out.
        outcome: of the judged pairs: 1, −1 or 0, [k].
    """
    if not len(judged):
        return advantage
    size = int(max(first.max(), second.max())) + 1
    scaled = effects.scale * advantage
    mean, known = fit_effects(scaled[judged], first[judged], second[judged], outcome, tie, effects.variance)
    covariance = np.eye(size) * effects.variance
    covariance[: len(mean), : len(mean)] = known
    mean, diagonal = np.pad(mean, (0, size - len(mean))), np.diagonal(covariance)
    shift = mean[first] - mean[second]
    variance = np.maximum(diagonal[first] + diagonal[second] - 2.0 * covariance[first, second], 0.0)
    in_judged_pair = np.zeros(size, dtype=bool)
    in_judged_pair[first[judged]] = in_judged_pair[second[judged]] = True
    updated = effects.slope * (scaled + shift) / np.sqrt(1.0 + np.pi * variance / 8.0)
    return np.where(in_judged_pair[first] | in_judged_pair[second], updated, advantage)
