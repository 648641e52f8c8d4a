"""Which runs the benchmark of the pipeline's own cost makes."""

from __future__ import annotations

from tests.benchmarks.overhead import runs


def test_models_vary_at_32_items_a_message_and_items_at_four_models() -> None:
    found = [(run.models, run.batch) for run in runs(10, [2, 4, 8], [1, 8, 32, 128], [None])]
    assert found == [(2, 32), (4, 32), (8, 32), (4, 1), (4, 8), (4, 128)]


def test_where_the_usual_is_not_asked_for_the_nearest_stands_for_it() -> None:
    assert [run.title for run in runs(10, [2], [8, 64], [None])] == ["sqlite K=2 batch=8", "sqlite K=2 batch=64"]
