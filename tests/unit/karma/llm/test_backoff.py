"""A limit of calls is sat out; other failures use up retries."""

from __future__ import annotations

import pytest

from karma.llm.backoff import Backoff
from karma.llm.refusals import FailedAttempt
from karma.messages import ModelSpec

LIMITED = FailedAttempt("rate_limited", "429: slow down", retry=True)
BROKEN = FailedAttempt("server_error", "500: server error", retry=True)


def backoff(**settings: float) -> Backoff:
    return Backoff(ModelSpec(name="red", backend="openai", model="red", **settings), 0.5)  # type: ignore[arg-type]


def waits(of: Backoff, failed: FailedAttempt) -> list[float]:
    found = []
    while (wait_s := of.wait_s(failed)) is not None:
        found.append(wait_s)
    return found


def test_a_limit_per_minute_is_sat_out_without_a_retry() -> None:
    calm = backoff(max_retries=2)

    limited = waits(calm, LIMITED)

    assert 540 < sum(limited) <= 600
    assert max(limited) > 14
    assert len(waits(calm, BROKEN)) == 2


def test_other_failures_use_up_the_retries() -> None:
    assert len(waits(backoff(max_retries=5), BROKEN)) == 5


def test_a_requested_wait_is_kept() -> None:
    asked = FailedAttempt("rate_limited", "429: slow down", retry=True, wait_s=20.0)

    assert waits(backoff(rate_limit_wait_s=70), asked) == pytest.approx([20, 20, 20], abs=1)


@pytest.mark.parametrize("failed", [LIMITED, BROKEN])
def test_without_retries_there_is_one_attempt(failed: FailedAttempt) -> None:
    assert waits(backoff(max_retries=0), failed) == []


def test_a_refusal_is_final() -> None:
    assert backoff().wait_s(FailedAttempt("refused", "404: no", retry=False)) is None
