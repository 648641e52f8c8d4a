"""What takes long is read seldom, and nobody waits for it."""

from __future__ import annotations

import threading

import pytest

from karma_monitor.refresh import MOST_WAIT_S, Background, Pace, Paced
from tests.support.pipeline import wait_until


def test_what_took_long_is_not_due_soon() -> None:
    pace = Pace(most_share=0.01)
    assert pace.is_due
    pace.finished(3600.0)
    assert not pace.is_due
    pace.expire()
    assert pace.is_due


def test_what_took_no_time_is_due_again_only_after_its_time() -> None:
    pace = Pace(most_share=0.01, every_s=3600.0)
    pace.finished(0.0)
    assert not pace.is_due


def test_a_read_that_took_an_hour_puts_the_next_off_for_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, read = [0.0], iter(range(10))
    monkeypatch.setattr("karma_monitor.refresh.time.monotonic", lambda: now[0])

    def frozen() -> int:
        now[0] += 3600.0
        return next(read)

    paced = Paced(frozen, most_share=0.005)
    assert (paced.value(), paced.value()) == (0, 0)
    now[0] += MOST_WAIT_S
    assert paced.value() == 1


def test_a_figure_that_is_not_due_is_the_last_one() -> None:
    read = iter(range(10))
    paced = Paced(lambda: next(read), most_share=0.01, every_s=3600.0)
    assert (paced.value(), paced.value()) == (0, 0)
    paced.expire()
    assert paced.value() == 1


def test_while_a_figure_is_read_again_the_last_one_is_given() -> None:
    go_on, read = threading.Event(), iter(range(10))

    def slow() -> int:
        number = next(read)
        if number:
            assert go_on.wait(30)
        return number

    background = Background(slow, most_share=1.0)
    assert background.value() == 0
    background.expire()
    assert background.value() == 0
    go_on.set()
    wait_until(lambda: background.value() >= 1, 10, "the new one is there")


def test_what_fails_is_said_and_tried_again() -> None:
    answers = iter([ValueError("away"), 7])

    def read() -> int:
        found = next(answers)
        if isinstance(found, ValueError):
            raise found
        return found

    background = Background(read, most_share=1.0)
    with pytest.raises(ValueError, match="away"):
        background.value()
    assert background.value() == 7
