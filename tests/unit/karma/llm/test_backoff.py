"""A limit of calls is sat out; other failures use up retries."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from karma.llm.backoff import Backoff
from karma.llm.refusals import FailedAttempt
from karma.messages import ModelSpec

LIMITED = FailedAttempt("rate_limited", "429: slow down", retry=True)
BROKEN = FailedAttempt("server_error", "500: server error", retry=True)


@dataclass
class Gate:
    """What a call sees of its endpoint's gate."""

    shared: bool = False
    is_open: bool = False
    answered: bool = True

    def answered_since(self, _moment: float) -> bool:
        return self.answered


def backoff(gate: Gate | None = None, **settings: float) -> Backoff:
    spec = ModelSpec(name="red", backend="openai", model="red", **settings)  # type: ignore[arg-type]
    return Backoff(spec, gate or Gate(), 0.5)


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


def test_while_the_shared_breaker_is_open_failures_use_up_no_retry() -> None:
    gate = Gate(shared=True, is_open=True)
    call = backoff(gate, max_retries=2)

    assert [call.wait_s(BROKEN) for _turn in range(20)] == [0.0] * 20
    gate.is_open = False
    assert len(waits(call, BROKEN)) == 2


def test_without_an_answer_to_anybody_a_failure_is_not_final() -> None:
    gate = Gate(shared=True, answered=False)
    call = backoff(gate, max_retries=1)

    assert len([call.wait_s(BROKEN) for _turn in range(9)]) == 9
    gate.answered = True
    assert call.wait_s(BROKEN) is None


def test_a_spent_quota_waits_for_the_breaker_and_fails_where_there_is_none() -> None:
    spent = FailedAttempt("quota", "out of quota", retry=False, of_endpoint=True)

    assert backoff(Gate(shared=True)).wait_s(spent) == 0.0
    assert backoff(Gate(shared=True), outage_wait_s=0).wait_s(spent) is None
    assert backoff(Gate(shared=False)).wait_s(spent) is None


def test_after_429_calls_wait_at_the_shared_gate() -> None:
    assert backoff(Gate(shared=True)).wait_s(LIMITED) == 0.0
    assert backoff(Gate(shared=True), max_retries=0).wait_s(LIMITED) is None
