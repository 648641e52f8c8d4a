"""What is done again and again takes no more than its share of a core, unless it was of use."""

from __future__ import annotations

import time

import pytest

from karma_gateway.worker import Duty


@pytest.mark.parametrize(("of_use", "rounds"), [(False, 1), (True, 2)])
def test_a_costly_round_puts_off_the_next_one_unless_it_was_of_use(of_use: bool, rounds: int) -> None:
    done: list[float] = []

    def costly() -> bool:
        started = time.thread_time()
        while time.thread_time() < started + 0.02:
            pass
        done.append(started)
        return of_use

    duty = Duty(costly, every_s=0.0, most_share=1e-5)
    duty.do_if_due()
    duty.do_if_due()
    assert len(done) == rounds
