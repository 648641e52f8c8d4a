"""Juries of real tiny models, with copies and a judge that says "first", label as well as their best judge."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.jury_family import compared, graded_juries, is_better_than_chance, judged_pairs, with_copies


@pytest.mark.ci
def test_labels_of_graded_juries_are_as_right_as_their_best_judge_less_a_point() -> None:
    judged = judged_pairs(200)
    (half,) = judged.blocks(len(judged.truth) // 2, 1)
    juries = [jury for jury in graded_juries(judged) if is_better_than_chance(judged, jury[2])]
    beyond, mean, _hindsight, first = np.array([compared(judged, with_copies(jury), half) for jury in juries]).T
    assert len(juries) >= 10
    assert beyond.mean() > -1.0
    assert mean.mean() < -5.0
    assert first.max() < 0.02
