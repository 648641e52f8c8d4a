"""What is known about a pair before it is judged, with the uncertainty of the competencies in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma.ranking.information import outcome as expected_outcome
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
    snapshot: Snapshot,
    skill: str | None,
    models_a: Sequence[str],
    models_b: Sequence[str],
    relative_features: Array,
    likeness: Sequence[float],
) -> list[GapPair]:
    """The predictions of n pairs of one prompt: by the outcome model where there is one, else by the competencies.

    P(better | decisive) is posterior predictive. At the competencies' mean, a model that won its first comparisons by
    chance would be believed, and nothing would contradict it.

    Args:
        snapshot: the competencies, the outcome model and the tie model.
        skill: the prompt's.
        models_a: names, n.
        models_b: names, n.
        relative_features: features of a minus those of b, [n, F].
        likeness: of the two responses, n.
    """
    known = [snapshot.between(a, b, skill) for a, b in zip(models_a, models_b, strict=True)]
    gap = np.array([each.gap for each in known])
    model = snapshot.outcome
    if model is None:
        win = np.array([each.win_probability for each in known])
        tie = 1.0 - snapshot.decisive(gap, skill)
    else:
        advantage = model.advantage(gap, relative_features, models_a, models_b)
        deviation = model.deviation(np.array([each.gap_deviation for each in known]))
        _, certain, decisive = expected_outcome(advantage, deviation, model.tie)
        win, tie = 0.5 * model.lapse + (1.0 - model.lapse) * certain, 1.0 - decisive
    if snapshot.ties is not None:
        mean_a, mean_b = snapshot.vector("mean", models_a, skill), snapshot.vector("mean", models_b, skill)
        tie = snapshot.ties.probability(mean_a, mean_b, np.array(likeness), skill)
    met = [each.comparisons for each in known]
    pairs = zip(models_a, models_b, win.tolist(), tie.tolist(), met, strict=True)
    return [GapPair(*each) for each in pairs]
