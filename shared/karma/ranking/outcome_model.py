"""The outcome model: what a judge will say about a pair, from the models' competencies and the two responses.

With η the expected advantage of response a, in logits,

    P(a better) = e^{η/2} / z,   P(tie) = ν / z,   P(b better) = e^{−η/2} / z,   z = 2 cosh(η/2) + ν

(Davidson 1970, JASA 65, 317–328). η is linear in the competency gap, in the differences of the responses' features
and in one offset a model. Fitting is `karma_scoring.fit.outcome_fit`; here are the look-ups.

Where several pairs share responses to one prompt, a verdict on one says something about the others. Each response
then has an effect of its own beside what η expects, u ~ N(0, σ²), and `posterior_advantage` is η after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Features of a response among the others to its prompt; `karma_matching.budget.relative_features` measures them.
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

_STEPS = 30
_CLOSE = 1e-6


@dataclass(frozen=True)
class Siblings:
    """How far the verdicts on a prompt's other pairs are to be trusted; all learnt from held-out verdicts."""

    variance: float  # σ² of a response's own effect
    scale: float  # of η beside that effect: known responses leave less to chance than the average over all does
    slope: float  # from the updated advantage, shrunk by what is still unknown, to logits


@dataclass(frozen=True, eq=False)
class OutcomeModel:
    """A fitted outcome model."""

    gap_weight: float  # logits per logit of competency gap
    weights: tuple[float, ...]  # logits per unit of each of `FEATURES`
    offsets: Mapping[str, float]  # logits by model; 0 for a model that is not there
    tie: float  # Davidson's ν
    siblings: Siblings | None  # None where too few prompts have several judged pairs
    examples: int  # judged pairs it was learnt from
    calibration_error: float | None  # expected one of P(a better | decisive), on held-out pairs; None: too few

    def advantage(self, gap: Array, contrast: Array, models_a: Sequence[str], models_b: Sequence[str]) -> Array:
        """η of n pairs, logits.

        Args:
            gap: competency of a's model minus b's, logits, [n].
            contrast: features of a minus those of b, [n, F].
            models_a: names, n.
            models_b: names, n.
        """
        offset = np.array(
            [self.offsets.get(a, 0.0) - self.offsets.get(b, 0.0) for a, b in zip(models_a, models_b, strict=True)]
        )
        found: Array = self.gap_weight * gap + contrast @ self._weights + offset
        return found

    def deviation(self, gap_deviation: Array) -> Array:
        """Standard deviation of η that comes from the competencies, [n]."""
        found: Array = abs(self.gap_weight) * gap_deviation
        return found

    @cached_property
    def _weights(self) -> Array:
        return np.array(self.weights)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> OutcomeModel:
        """What `to_dict` gave, perhaps by way of JSON."""
        siblings = found["siblings"]
        return cls(
            **{
                **found,
                "weights": tuple(found["weights"]),
                "offsets": dict(found["offsets"]),
                "siblings": None if siblings is None else Siblings(**siblings),
            }
        )


@dataclass(frozen=True, eq=False)
class Effects:
    """The responses' own effects given some verdicts: a Gaussian around the most probable values (Laplace)."""

    mean: Array  # [R]
    covariance: Array  # [R, R]

    def gap(self, first: Indices, second: Indices) -> tuple[Array, Array]:
        """Mean and variance of u_first − u_second."""
        own = np.diagonal(self.covariance)
        variance = own[first] + own[second] - 2.0 * self.covariance[first, second]
        return self.mean[first] - self.mean[second], np.maximum(variance, 0.0)


def effects(advantage: Array, first: Indices, second: Indices, outcome: Array, tie: float, variance: float) -> Effects:
    """The effects of one prompt's R responses after n verdicts, by Newton's method; the log posterior is concave.

    Args:
        advantage: of each pair before its effects, logits, [n].
        first: the place of response a, [n].
        second: of response b, [n].
        outcome: 1 where a was better, −1 where b was, 0 for a tie, [n].
        tie: Davidson's ν.
        variance: σ² of each effect before any verdict.
    """
    size = int(max(first.max(initial=-1), second.max(initial=-1))) + 1
    design = np.zeros((len(first), size))
    rows = np.arange(len(first))
    design[rows, first] = 1.0
    design[rows, second] = -1.0
    mean: Array = np.zeros(size)
    prior = np.eye(size) / variance
    for _ in range(_STEPS):
        slope, curvature = davidson_slopes(advantage + design @ mean, tie)
        precision = prior + design.T @ (curvature[:, None] * design)
        step = np.linalg.solve(precision, design.T @ (0.5 * outcome - slope) - mean / variance)
        mean = mean + np.clip(step, -2.0, 2.0)
        if np.abs(step).max(initial=0.0) < _CLOSE:
            break
    _, curvature = davidson_slopes(advantage + design @ mean, tie)
    precision = prior + design.T @ (curvature[:, None] * design)
    return Effects(mean, np.linalg.inv(precision).astype(np.float64, copy=False))


def win_given_decisive(advantage: Array) -> Array:
    """P(a better | decisive): the logistic function of η, without overflow."""
    found: Array = 0.5 * (1.0 + np.tanh(0.5 * advantage))
    return found


def tie_probability(advantage: Array, tie: float) -> Array:
    """P(tie) = ν / (2 cosh(η/2) + ν), without overflow."""
    decay = np.exp(-np.abs(advantage) / 2.0)
    found: Array = tie * decay / (1.0 + decay * decay + tie * decay)
    return found


def davidson_slopes(advantage: Array, tie: float) -> tuple[Array, Array]:
    """First and second derivative of log z = log(2 cosh(η/2) + ν) in η, without overflow."""
    decay = np.exp(-np.abs(advantage) / 2.0)
    scaled = 1.0 + decay * decay + tie * decay  # z e^{−|η|/2}
    slope = 0.5 * np.sign(advantage) * (1.0 - decay * decay) / scaled
    curvature = (decay * decay + 0.25 * tie * decay * (1.0 + decay * decay)) / (scaled * scaled)
    return slope, curvature


def posterior_advantage(
    siblings: Siblings, tie: float, advantage: Array, first: Indices, second: Indices, judged: Indices, outcome: Array
) -> Array:
    """η of all n pairs of a prompt after the verdicts on some of them, [n].

    The updated advantage is shrunk by what is still unknown about it (MacKay 1992, Neural Computation 4, 720–736) and
    brought back to logits by the learnt slope. A pair that no verdict says anything about keeps its advantage.

    Args:
        siblings: the learnt trust.
        tie: Davidson's ν.
        advantage: η before the verdicts, [n].
        first: the place of response a among the prompt's responses, [n].
        second: of response b, [n].
        judged: the pairs with a verdict (places, [k]); a pair must not be among them to be told about itself.
        outcome: of those pairs: 1, −1 or 0, [k].
    """
    if not len(judged):
        return advantage
    size = int(max(first.max(), second.max())) + 1
    scaled = siblings.scale * advantage
    known = effects(scaled[judged], first[judged], second[judged], outcome, tie, siblings.variance)
    missing = size - len(known.mean)
    mean: Array = np.pad(known.mean, (0, missing))
    covariance: Array = np.eye(size) * siblings.variance
    covariance[: len(known.mean), : len(known.mean)] = known.covariance
    shift, variance = Effects(mean, covariance).gap(first, second)
    touched = np.zeros(size, dtype=bool)
    touched[first[judged]] = touched[second[judged]] = True
    updated = siblings.slope * (scaled + shift) / np.sqrt(1.0 + np.pi * variance / 8.0)
    found: Array = np.where(touched[first] | touched[second], updated, advantage)
    return found
