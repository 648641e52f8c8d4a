"""The end of a run is noticed soon, and a long wait costs little."""

from __future__ import annotations

import pytest

from karma_cli.poll_interval import PollInterval


def _looks(rate: float, prompts: int, took_s: float = 0.001, *, is_shown: bool = False) -> tuple[int, float]:
    """The looks at a run of so many prompts at a steady rate, and the seconds from its end to the last of them."""
    interval, now, looks = PollInterval(is_shown), 0.0, 0
    while True:
        now, looks = now + took_s, looks + 1
        ended = min(prompts, int(now * rate))
        if ended == prompts:
            return looks, now - prompts / rate
        now += interval.after(now, ended, prompts - ended, took_s)


@pytest.mark.parametrize(("rate", "prompts"), [(200.0, 1500), (200.0, 6000), (5.0, 1), (1000.0, 10_000)])
def test_the_end_is_noticed_within_a_fraction_of_the_longest_pause(rate: float, prompts: int) -> None:
    looks, late_s = _looks(rate, prompts)
    assert late_s < 0.1
    assert looks < prompts / rate + 35
    shown, late_s = _looks(rate, prompts, is_shown=True)
    assert late_s < 0.1
    assert 4 * prompts / rate < shown < 5 * prompts / rate + 25


def test_counting_many_prompts_takes_a_fifth_of_the_time_at_most() -> None:
    looks, _late_s = _looks(300.0, 30_000, took_s=0.5)
    assert looks * 0.5 <= 0.2 * 110


def test_where_nothing_ends_looks_become_rare() -> None:
    for is_shown, longest_s in ((True, 0.2), (False, 1.0)):
        interval = PollInterval(is_shown)
        pauses = [interval.after(float(n), 0, 10, 0.001) for n in range(20)]
        assert pauses[0] == 0.02
        assert pauses[-1] == longest_s
