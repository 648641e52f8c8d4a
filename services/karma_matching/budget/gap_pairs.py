"""What is known about a pair before it is judged, with the uncertainty of the competencies in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma.ranking.label_model import PairSigns
from karma.ranking.snapshot import Snapshot

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GapPair:
    """What is known about a pair before it is judged."""

    model_a: str
    model_b: str
    win: float  # P(a better | decisive), posterior predictive
    tie: float  # P(tie)
    met: float = math.inf  # effective number of verdicts on the two models in the skill

    @property
    def certainty(self) -> float:
        """P(better | decisive) of the likelier side."""
        return max(self.win, 1.0 - self.win)

    @property
    def information(self) -> float:
        """P(decisive) times the entropy of the side, bits: the less, the surer the label."""
        low = 1.0 - self.certainty
        entropy = 0.0 if low <= 0.0 else -(low * math.log2(low) + (1.0 - low) * math.log2(1.0 - low))
        return (1.0 - self.tie) * entropy

    @property
    def ordered(self) -> tuple[str, str]:
        """The models of the likelier chosen and rejected response."""
        return (self.model_a, self.model_b) if self.win > 0.5 else (self.model_b, self.model_a)


def gap_pairs(
    snapshot: Snapshot, skill: str | None, models_a: Sequence[str], models_b: Sequence[str], signs: PairSigns
) -> list[GapPair]:
    """The predictions of n pairs of one prompt: by the competencies and, once there is one, by the label model.

    P(better | decisive) is posterior predictive. At the competencies' mean, a model that won its first comparisons by
    chance would be believed, and nothing would contradict it.

    Args:
        snapshot: the competencies and the label model.
        skill: the prompt's.
        models_a: names, n.
        models_b: names, n.
        signs: of the pairs.
    """
    known = [snapshot.between(a, b, skill) for a, b in zip(models_a, models_b, strict=True)]
    win = np.array([each.win_probability for each in known])
    if snapshot.labels is None:
        tie = 1.0 - snapshot.decisive(np.array([each.gap for each in known]), skill)
    else:
        mean_a, mean_b = snapshot.vector("mean", models_a, skill), snapshot.vector("mean", models_b, skill)
        tie = snapshot.labels.tie_probability(mean_a, mean_b, signs, skill)
        win = snapshot.labels.win_probability(win, signs)
    met = [each.comparisons for each in known]
    pairs = zip(models_a, models_b, win.tolist(), tie.tolist(), met, strict=True)
    return [GapPair(*each) for each in pairs]
