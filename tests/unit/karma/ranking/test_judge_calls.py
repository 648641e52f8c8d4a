"""Judge calls are counted by minute, over any 60 minutes, and clocks of workers may differ."""

from __future__ import annotations

import pytest

from karma.ranking.judge_calls import JudgeCalls

NOON = 1_800_000_000.0  # a full minute


def test_a_minute_counts_until_it_is_wholly_older_than_an_hour() -> None:
    spent = JudgeCalls().with_new(NOON + 59.0, 5, 8)

    assert spent.at(NOON + 3659.0).calls == 8
    assert spent.at(NOON + 3660.0).calls == 0


def test_pairs_of_a_minute_are_counted_together() -> None:
    spent = JudgeCalls().with_new(NOON, 5, 8).with_new(NOON + 30.0, 2, 0).with_new(NOON + 60.0, 1, 4)

    assert [row[1:] for row in spent.minutes] == [(7, 8), (1, 4)]
    assert JudgeCalls.of([list(row) for row in spent.minutes]) == spent


def test_a_clock_that_is_behind_adds_to_the_newest_minute() -> None:
    spent = JudgeCalls().with_new(NOON, 5, 8).with_new(NOON - 200.0, 1, 2)

    assert [row[1:] for row in spent.minutes] == [(6, 10)]
    assert 0.0 < spent.affordable_share(100.0, 1, NOON - 200.0) <= 1.0


def test_a_clock_that_was_far_ahead_holds_the_calls_for_an_hour_only() -> None:
    wrong = JudgeCalls().with_new(NOON + 1e6, 5, 8)

    assert wrong.with_new(NOON, 1, 2).calls == 10
    assert wrong.with_new(NOON, 1, 2).at(NOON + 3660.0).calls == 0


def test_what_is_left_is_spread_over_the_pairs_to_come() -> None:
    """500 pairs can be judged: all of few, an even share of a steady 1,000 an hour, and none once they are spent."""
    steady = JudgeCalls()
    for minute in range(61):
        steady = steady.with_new(NOON + 60.0 * minute, 1000 // 60, 0)
    now = NOON + 3600.0 + 59.9

    assert JudgeCalls().with_new(NOON, 100, 0).affordable_share(1000.0, 2, NOON) == 1.0
    assert steady.affordable_share(1000.0, 2, now) == pytest.approx(0.52, abs=0.02)
    assert steady.with_new(now, 0, 999).affordable_share(1000.0, 2, now) == 0.0
    assert steady.with_new(now, 0, 999).affordable_pairs(1000.0, 2) == 0


def test_calls_that_become_free_within_minutes_are_given_out_now() -> None:
    spent = JudgeCalls().with_new(NOON, 400, 900).with_new(NOON + 3590.0, 20, 0)

    assert spent.affordable_share(1000.0, 2, NOON + 3590.0) == 1.0
