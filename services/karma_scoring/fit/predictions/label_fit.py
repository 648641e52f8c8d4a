"""Fits the label model to judged pairs: two logistic regressions with Gaussian priors, by Newton's method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.ranking.label_model import SKILL_PRECISION, LabelModel, PairSigns, design, logit
from karma.ranking.snapshot import Snapshot
from karma.store.records import Example
from karma_scoring.fit.time_buckets import bucket_at

Array = NDArray[np.float64]

#: Fewest judged pairs for a model; with fewer, a label is predicted by the competencies alone.
LEAST_EXAMPLES = 40

# Prior precisions, per squared logit. Competencies are in logits, signs in [0, 1]: a weight of 3 logits is no surprise.
_INTERCEPT_PRECISION = 0.1
_COMPETENCY_PRECISION = 1.0
_SIGN_PRECISION = 0.1
_PRECISION = (_INTERCEPT_PRECISION, *(_COMPETENCY_PRECISION,) * 2, *(_SIGN_PRECISION,) * 4)  # as `design`

_STEPS = 25
_LONGEST_STEP = 4.0  # logits
_CLOSE = 1e-6


@dataclass(frozen=True, eq=False)
class LabelExamples:
    """n judged pairs with a valid verdict. Competencies are the present ones."""

    competency_a: Array  # of a's model in the skill, logits, [n]
    competency_b: Array  # [n]
    win: Array  # P(a better | decisive) by the competencies, [n]
    signs: PairSigns
    skill: NDArray[np.str_]  # names, "" for none, [n]
    outcome: Array  # 1: a is better, −1: b is better, 0: no side, [n]

    def __len__(self) -> int:
        return len(self.outcome)


def label_examples_of(rows: Sequence[Example], competencies: Snapshot, changed: Mapping[str, int]) -> LabelExamples:
    """Stored pairs as arrays; without those judged before one of their models changed, and those without signs.

    Only streams with `label_at` store signs, since the version that introduced them.

    Args:
        rows: of two different models or of one.
        competencies: of the refit.
        changed: model → time bucket of its last change.
    """
    both = [
        (row, reasons)
        for row in rows
        if bucket_at(row.resolved_at) >= max(changed.get(row.model_a, 0), changed.get(row.model_b, 0))
        and "support" in (reasons := json.loads(row.reasons))
    ]
    kept = [row for row, _ in both]
    means = np.array(
        [competencies.vector("mean", (row.model_a, row.model_b), row.skill) for row in kept], dtype=np.float64
    ).reshape(-1, 2)
    side = [0.0 if row.outcome != "decisive" else 1.0 if row.chosen == row.response_a else -1.0 for row in kept]
    return LabelExamples(
        competency_a=means[:, 0],
        competency_b=means[:, 1],
        win=np.array([competencies.between(row.model_a, row.model_b, row.skill).win_probability for row in kept]),
        signs=_signs_of([reasons for _, reasons in both]),
        skill=np.array([row.skill or "" for row in kept], dtype=np.str_),
        outcome=np.array(side, dtype=np.float64),
    )


def _signs_of(reasons: Sequence[Mapping[str, Any]]) -> PairSigns:
    """The signs that matching stored with n pairs."""
    support = np.array([row["support"] for row in reasons], dtype=np.float64).reshape(-1, 2)
    return PairSigns(
        likeness=np.array([row.get("likeness") or 0.0 for row in reasons], dtype=np.float64),
        agreement=np.array([row["agreement"] for row in reasons], dtype=np.float64),
        support_a=support[:, 0],
        support_b=support[:, 1],
    )


def fit_labels(examples: LabelExamples) -> LabelModel | None:
    """The label model of judged pairs; None where they are too few.

    The choice of the judged pairs depends on variables of the model only, so selection is ignorable (Little & Rubin
    2002, section 1.3).
    """
    if len(examples) < LEAST_EXAMPLES:
        return None
    skills = tuple(np.unique(examples.skill).tolist())
    names = examples.skill.tolist()
    columns = design(examples.competency_a, examples.competency_b, examples.signs, names, skills)
    precision = np.array([*_PRECISION, *(SKILL_PRECISION,) * len(skills)])
    ties, covariance = _logistic(columns, examples.outcome == 0.0, precision)
    decisive = examples.outcome != 0.0
    support, _ = _logistic(
        (examples.signs.support_a - examples.signs.support_b)[decisive, None],
        examples.outcome[decisive] > 0.0,
        np.array([_SIGN_PRECISION]),
        offset=logit(examples.win[decisive]),
    )
    return LabelModel(
        ties=tuple(ties.tolist()),
        covariance=tuple(tuple(row) for row in covariance.tolist()),
        skills=skills,
        support=float(support[0]),
        examples=len(examples),
    )


def _logistic(
    columns: Array, occurred: NDArray[np.bool_], precision: Array, offset: Array | float = 0.0
) -> tuple[Array, Array]:
    """The likeliest weights, [k], and their covariance, [k, k].

    Args:
        columns: [n, k].
        occurred: whether the event did, [n].
        precision: of the weights' priors around 0, [k].
        offset: added to the logits, [n].
    """
    weights: Array = np.zeros(columns.shape[1])
    curvature = np.diag(precision)
    for _ in range(_STEPS):
        probability = 0.5 * (1.0 + np.tanh(0.5 * (columns @ weights + offset)))
        gradient = columns.T @ (occurred - probability) - precision * weights
        curvature = columns.T @ ((probability * (1.0 - probability))[:, None] * columns) + np.diag(precision)
        step = np.linalg.solve(curvature, gradient)
        # Far from the mode the curvature says little of how far it is.
        weights += step * min(1.0, _LONGEST_STEP / max(1e-9, float(np.abs(step).max())))
        if np.abs(step).max() < _CLOSE:
            break
    return weights, np.linalg.inv(curvature).astype(np.float64)
