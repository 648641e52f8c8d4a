"""The outcome model forgets what it learned of a model before that changed."""

from __future__ import annotations

import json

import numpy as np

from karma.ranking.outcome_model import FEATURES, OutcomeModel
from karma.ranking.snapshot import Snapshot
from karma.store.records import Example
from karma_scoring.fit.changes.drift import last_changes
from karma_scoring.fit.predictions.judge_budget import BudgetInputs, examples_of
from karma_scoring.fit.time_buckets import BUCKET_S
from tests.benchmarks.gated_stream import swapped_errors


def example(number: int, a: str, b: str, bucket: int) -> Example:
    reasons = json.dumps({"contrast": [0.0] * len(FEATURES)})
    return Example(number, None, 1, 2, a, b, reasons, "decisive", 1, bucket * BUCKET_S)


def test_pairs_from_before_a_change_are_no_examples() -> None:
    changed = last_changes(["a", "b", "a#10", "a#20", "c#5"])
    rows = [example(1, "a", "b", 19), example(2, "a", "b", 20), example(3, "b", "d", 1), example(4, "b", "c", 4)]

    assert changed == {"a": 20, "c": 5}
    assert examples_of(rows[::-1], Snapshot.empty(), changed).prompt.tolist() == [2, 3]


def test_with_too_few_examples_left_the_changed_model_alone_is_forgotten() -> None:
    known = OutcomeModel(1.0, (0.0,) * len(FEATURES), {"a": 0.5, "b": -0.5}, 0.5, None, 500, None)
    kept = BudgetInputs(known, [example(1, "a", "b", 1)], {}).outcome(Snapshot.empty(), {"a": 20})

    assert kept is not None
    assert kept.offsets == {"b": -0.5}


def test_labels_of_a_swapped_model_are_soon_as_right_as_before() -> None:
    """With the examples of the former model, two fifths of them would be wrong."""
    errors = [swapped_errors(seed, 5_000, [(500, 2_500)]) for seed in (0, 1)]

    assert np.mean(errors) < 0.25, errors
