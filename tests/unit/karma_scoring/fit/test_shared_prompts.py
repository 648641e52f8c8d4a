"""Prompts whose pairs are all judged: the intervals hold, and no model seems to have changed."""

from __future__ import annotations

from tests.benchmarks.hard_cases import coverage, falsely_changed, simulated

#: The quality of a response varies with this variance around its model's, in squared logits.
VARIANCE = 8.0


def test_intervals_hold_where_verdicts_share_prompts() -> None:
    """Taken as independent, verdicts on all pairs of 40 prompts would give intervals for 90 % that hold 66 %."""
    covered, _error = coverage(simulated(8, 400, VARIANCE, seed=2), prompts=40, repetitions=40, seed=3)

    assert 0.85 <= covered <= 0.98, covered


def test_no_model_seems_to_have_changed_where_verdicts_share_prompts() -> None:
    assert falsely_changed(simulated(12, 150, VARIANCE, seed=4), streams=2, seed=5) == [0, 0]
