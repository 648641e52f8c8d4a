"""Fits the tie model to judged pairs: a logistic regression with Gaussian priors, by Newton's method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma.ranking.snapshot import Snapshot
from karma.ranking.tie_model import TieModel
from karma.store.records import Example
from karma_scoring.fit.time_buckets import bucket_at

Array = NDArray[np.float64]

#: Fewest judged pairs for a model; with fewer, P(tie) is that of the competencies.
LEAST_EXAMPLES = 40

_INTERCEPT_PRECISION = 0.1  # a prior deviation of 3 logits
_PRECISION = 1.0  # of each other weight
_STEPS = 25
_CLOSE = 1e-6


@dataclass(frozen=True, eq=False)
class TieExamples:
    """n judged pairs with a valid verdict. Competencies are the present ones."""

    better: Array  # the higher of the two competencies, logits, [n]
    worse: Array  # the lower, [n]
    likeness: Array  # [n]
    skill: NDArray[np.str_]  # names, "" for none, [n]
    tied: NDArray[np.bool_]  # whether the verdict took no side, [n]

    def __len__(self) -> int:
        return len(self.tied)


def tie_examples_of(rows: Sequence[Example], competencies: Snapshot, changed: Mapping[str, int]) -> TieExamples:
    """Stored pairs as arrays; without those judged before one of their models changed.

    Args:
        rows: of two different models or of one.
        competencies: of the refit.
        changed: model → time bucket of its last change.
    """
    kept = [
        (row, float(json.loads(row.reasons).get("likeness") or 0.0))
        for row in rows
        if bucket_at(row.resolved_at) >= max(changed.get(row.model_a, 0), changed.get(row.model_b, 0))
    ]
    means = np.array(
        [competencies.vector("mean", (row.model_a, row.model_b), row.skill) for row, _ in kept], dtype=np.float64
    ).reshape(-1, 2)
    return TieExamples(
        better=means.max(axis=1),
        worse=means.min(axis=1),
        likeness=np.array([likeness for _, likeness in kept], dtype=np.float64),
        skill=np.array([row.skill or "" for row, _ in kept], dtype=np.str_),
        tied=np.array([row.outcome != "decisive" for row, _ in kept], dtype=np.bool_),
    )


def fit_ties(examples: TieExamples) -> TieModel | None:
    """The tie model of judged pairs; None where they are too few.

    The choice of the judged pairs depends on variables of the model only, so selection is ignorable (Little & Rubin
    2002, section 1.3).
    """
    if len(examples) < LEAST_EXAMPLES:
        return None
    skills, column = np.unique(examples.skill, return_inverse=True)
    one_hot = np.eye(len(skills))[column]
    design = np.column_stack([np.ones(len(examples)), examples.better, examples.worse, examples.likeness, one_hot])
    precision = np.full(design.shape[1], _PRECISION)
    precision[0] = _INTERCEPT_PRECISION
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        probability = 0.5 * (1.0 + np.tanh(0.5 * (design @ weights)))
        gradient = design.T @ (examples.tied - probability) - precision * weights
        curvature = design.T @ ((probability * (1.0 - probability))[:, None] * design) + np.diag(precision)
        step = np.linalg.solve(curvature, gradient)
        # Far from the mode the curvature says little of how far it is.
        weights += step * min(1.0, 4.0 / max(1e-9, float(np.abs(step).max())))
        if np.abs(step).max() < _CLOSE:
            break
    intercept, better, worse, likeness, *by_skill = weights.tolist()
    return TieModel(
        intercept, better, worse, likeness, dict(zip(skills.tolist(), by_skill, strict=True)), len(examples)
    )
