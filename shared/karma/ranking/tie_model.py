"""The tie model: foresees that a verdict takes no side, so that such a pair is not labeled by prediction.

The competencies' own P(tie) depends on the gap alone (Davidson's model). A verifier ties where both answers are right
or both wrong: between two strong or two weak models, and between alike answers. So this model is a logistic regression
on the better and the worse of the two competencies, the likeness of the responses, and the skill.
`karma_scoring.fit.predictions.tie_fit` fits it; this module predicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TieModel:
    """A fitted tie model; all in logits, per unit of the feature."""

    intercept: float
    better: float  # per logit of the higher competency
    worse: float  # per logit of the lower competency
    likeness: float  # of the two responses, in [0, 1]
    skills: Mapping[str, float]  # 0 for a skill without one
    examples: int  # judged pairs that it was fitted to

    def probability(self, competency_a: Array, competency_b: Array, likeness: Array, skill: str | None) -> Array:
        """P(tie) of n pairs in a skill, [n].

        Args:
            competency_a: of a's model in the skill, logits, [n].
            competency_b: of b's model, logits, [n].
            likeness: of the two responses, [n].
            skill: the prompt's.
        """
        eta: Array = (
            self.intercept
            + self.skills.get(skill or "", 0.0)
            + self.better * np.maximum(competency_a, competency_b)
            + self.worse * np.minimum(competency_a, competency_b)
            + self.likeness * likeness
        )
        return 0.5 * (1.0 + np.tanh(0.5 * eta))
