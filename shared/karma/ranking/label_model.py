"""The label model: what the responses themselves say about a label, before it is predicted.

The competencies know the models, not their responses. Two things are missing there, and are learned from the judge's
verdicts:

- *P(tie)*. The competencies' own depends on the gap alone (Davidson's model). A verifier ties where both answers are
  right or both wrong: between two strong or two weak models, and between alike answers. This part is a logistic
  regression on the better and the worse of the two competencies, the skill, and the signs of the pair.
- *Support*. What several models answer alike is more often right (self-consistency, Wang et al. 2022, arXiv
  2203.11171), so the side of a decisive verdict depends on which of the two responses a third one agrees with.

How much each sign says is learned: where agreement says nothing, its weights stay near zero.
`karma_scoring.fit.predictions.label_fit` fits the model; this module predicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: The columns of `design` but for the intercept before and the skills behind.
FEATURES = ("better", "worse", "likeness", "agreement", "better_support", "worse_support")
#: Prior precision of a skill's weight, per squared logit.
SKILL_PRECISION = 1.0

_CLIP = 1e-6  # a probability of 0 or 1 has no logit


@dataclass(frozen=True, eq=False)
class PairSigns:
    """What is seen of n pairs of responses to one prompt before they are judged; all in [0, 1], [n]."""

    likeness: Array  # in quality and complexity
    agreement: Array  # Jaccard similarity of the words of a and b
    support_a: Array  # the largest Jaccard similarity of a's words to those of a third response; 0 without one
    support_b: Array


@dataclass(frozen=True, eq=False)
class LabelModel:
    """A fitted label model. Weights are in logits per unit of the feature."""

    ties: tuple[float, ...]  # of P(tie): the intercept, one of each of `FEATURES`, one a skill
    covariance: tuple[tuple[float, ...], ...]  # posterior, of these weights
    skills: tuple[str, ...]
    support: float  # of P(a better | decisive): per unit of a's support minus b's
    examples: int  # judged pairs that it was fitted to

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> LabelModel:
        """From the result of `to_dict`."""
        return cls(
            ties=tuple(stored["ties"]),
            covariance=tuple(tuple(row) for row in stored["covariance"]),
            skills=tuple(stored["skills"]),
            support=stored["support"],
            examples=stored["examples"],
        )

    def tie_probability(self, competency_a: Array, competency_b: Array, signs: PairSigns, skill: str | None) -> Array:
        """P(tie) of n pairs in a skill, posterior predictive, [n].

        At the likeliest weights alone, few judged pairs would make ties look almost impossible. The predictive
        probability is approximated as by MacKay (1992, Neural Computation 4, 720–736, equation 10).

        Args:
            competency_a: of a's model in the skill, logits, [n].
            competency_b: of b's model, logits, [n].
            signs: of the pairs.
            skill: the prompt's.
        """
        columns = design(competency_a, competency_b, signs, [skill or ""] * len(competency_a), self.skills)
        variance = np.einsum("ni,ij,nj->n", columns, np.array(self.covariance), columns)
        if (skill or "") not in self.skills:
            variance = variance + 1.0 / SKILL_PRECISION
        return _sigmoid(columns @ np.array(self.ties) / np.sqrt(1.0 + np.pi / 8.0 * variance))

    def win_probability(self, win: Array, signs: PairSigns) -> Array:
        """P(a better | decisive) of n pairs with their support, [n], from `win`, the same by the competencies."""
        return _sigmoid(logit(win) + self.support * (signs.support_a - signs.support_b))


def design(
    competency_a: Array, competency_b: Array, signs: PairSigns, skill: Sequence[str], skills: Sequence[str]
) -> Array:
    """The columns of P(tie) of n pairs, [n, 1 + len(FEATURES) + len(skills)]; the same for a pair and its mirror image.

    Args:
        competency_a: of a's model in the skill, logits, [n].
        competency_b: of b's model, logits, [n].
        signs: of the pairs.
        skill: of the pairs' prompts, n.
        skills: those that have a column.
    """
    a_better = competency_a >= competency_b
    of_skill = np.array([[float(name == known) for known in skills] for name in skill]).reshape(len(skill), len(skills))
    return np.column_stack(
        [
            np.ones(len(competency_a)),
            np.maximum(competency_a, competency_b),
            np.minimum(competency_a, competency_b),
            signs.likeness,
            signs.agreement,
            np.where(a_better, signs.support_a, signs.support_b),
            np.where(a_better, signs.support_b, signs.support_a),
            of_skill,
        ]
    )


def logit(probability: Array) -> Array:
    """log p / (1 − p), [n]; finite at 0 and 1."""
    clipped = np.clip(probability, _CLIP, 1.0 - _CLIP)
    found: Array = np.log(clipped / (1.0 - clipped))
    return found


def _sigmoid(eta: Array) -> Array:
    found: Array = 0.5 * (1.0 + np.tanh(0.5 * eta))
    return found
