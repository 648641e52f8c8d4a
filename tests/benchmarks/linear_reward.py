"""A reward model that is one linear score of frozen embeddings, and how well it predicts recorded verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from karma.ranking.snapshot import Snapshot
from karma_scoring.skill_discovery.embedding import Vectors
from tests.benchmarks.embeddings import embedded
from tests.support.alpaca import Data, Recording

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_RIDGE = 1.0  # precision of each weight's normal prior, for features of unit deviation


@dataclass(frozen=True)
class Pairs:
    """Pairs of answers with their verdicts, all of shape [n]."""

    prompt: Indices
    first: Indices
    second: Indices
    verdict: Indices  # 1: the first is better; −1: the second is; 0: a tie

    def decisive(self) -> Pairs:
        """Without the ties."""
        kept = self.verdict != 0
        return Pairs(self.prompt[kept], self.first[kept], self.second[kept], self.verdict[kept])


def every_pair(recording: Recording) -> Pairs:
    """All pairs of all prompts."""
    models = np.array(list(combinations(range(len(recording.data.models)), 2)), dtype=np.int64)
    prompt = np.repeat(np.arange(len(recording.data.prompts)), len(models))
    first, second = np.tile(models, (len(recording.data.prompts), 1)).T
    return Pairs(prompt, first, second, recording.judge.verdicts(prompt, first, second))


def represented(data: Data, cache: Path | None) -> Vectors:
    """Embedding of each response beside its product with the prompt's, [P, M, 768], of about unit deviation."""
    shape = (len(data.prompts), len(data.models), -1)
    responses = embedded([text for texts in data.outputs for text in texts], cache).reshape(shape)
    prompts = embedded([prompt.text for prompt in data.prompts], cache)[:, None, :]
    scale = np.float32(np.sqrt(prompts.shape[-1]))  # the vectors have length 1
    both: Vectors = np.concatenate([responses * scale, responses * prompts * scale**2], axis=2)
    return both


def reward_weights(represented_: Vectors, pairs: Pairs) -> Floats:
    """Weights of the score: the maximum of the Bradley–Terry likelihood under a normal prior, by L-BFGS."""
    from scipy.optimize import minimize

    gap = (represented_[pairs.prompt, pairs.first] - represented_[pairs.prompt, pairs.second]).astype(np.float64)
    gap *= pairs.verdict[:, None]
    prior = _RIDGE * gap.shape[1]

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = gap @ weights
        value = np.logaddexp(0.0, -margin).sum() + 0.5 * prior * weights @ weights
        slope = -gap.T @ (1.0 / (1.0 + np.exp(margin))) + prior * weights
        return float(value), slope

    found: Floats = minimize(loss, np.zeros(gap.shape[1]), jac=True, method="L-BFGS-B").x
    return found


def calibration_error(right: NDArray[np.bool_], confidence: Floats) -> float:
    """Expected calibration error, in [0, 1]; confidence is of the side taken, in [0.5, 1]."""
    bins = np.minimum((confidence - 0.5) * 20.0, 9.0).astype(int)
    weight = np.bincount(bins, minlength=10)
    excess = np.bincount(bins, weights=confidence - right, minlength=10)
    return float(np.abs(excess).sum() / weight.sum())


@dataclass(frozen=True)
class Evaluation:
    """The decisive pairs of the evaluation, with what makes them hard."""

    represented: Vectors
    pairs: Pairs
    hard: NDArray[np.bool_]
    easy: NDArray[np.bool_]

    @classmethod
    def of(cls, evaluation: Recording, known: Snapshot, cache: Path | None) -> Evaluation:
        pairs = every_pair(evaluation).decisive()
        data = evaluation.data
        gaps = np.stack([known.matrix("gap", data.models, skill) for skill in data.skills])
        gap = np.abs(gaps[data.skill_indices()[pairs.prompt], pairs.first, pairs.second])
        close, wide = np.quantile(gap, [0.2, 0.8])
        return cls(represented(data, cache), pairs, gap <= close, gap >= wide)

    def measured(self, weights: Floats) -> tuple[dict[str, float], NDArray[np.bool_]]:
        """The measures (accuracies in percent), and which pairs' first answer is preferred."""
        scores = self.represented @ weights
        margin = scores[self.pairs.prompt, self.pairs.first] - scores[self.pairs.prompt, self.pairs.second]
        right = np.sign(margin) == self.pairs.verdict
        confidence = 1.0 / (1.0 + np.exp(-np.abs(margin)))
        return {
            "all": 100.0 * float(right.mean()),
            "hard": 100.0 * float(right[self.hard].mean()),
            "easy": 100.0 * float(right[self.easy].mean()),
            "ece": calibration_error(right, confidence),
            "hard_ece": calibration_error(right[self.hard], confidence[self.hard]),
        }, margin > 0
