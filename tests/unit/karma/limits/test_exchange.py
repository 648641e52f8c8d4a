"""The rules of an exchange, step by step."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from karma.limits.exchange import exchange
from karma.limits.state import EndpointState, Report, Settings, endpoint_of, settings_of
from karma.messages import ModelSpec

LIMIT = Settings(slots=8)


def failed(number: int = 1, **more: object) -> Report:
    return Report(waiting=4, failed=number, kind="connection", reason="connection dropped", **more)  # type: ignore[arg-type]


def test_the_breaker_opens_after_a_second_of_failures_only() -> None:
    state = EndpointState()

    assert not exchange(state, "a", failed(10), LIMIT, 100.0).open
    assert not exchange(state, "a", failed(10), LIMIT, 100.9).open
    assert exchange(state, "a", failed(), LIMIT, 101.0).open
    assert state.breaker.reason == "connection dropped"


def test_failures_among_answers_open_nothing() -> None:
    state = EndpointState()
    for tenth in range(100):
        exchange(state, "a", failed(9), LIMIT, 100 + tenth / 10)
        grant = exchange(state, "b", Report(answered=1), LIMIT, 100 + tenth / 10)

    assert not grant.open


def test_an_open_endpoint_is_tried_by_one_call_and_closed_by_its_answer() -> None:
    state = EndpointState()
    exchange(state, "a", failed(for_good=True), LIMIT, 100.0)

    before = exchange(state, "a", Report(waiting=9), LIMIT, 104.9)
    tries = [exchange(state, process, Report(waiting=9), LIMIT, 105.0) for process in ("a", "b", "a")]
    after = exchange(state, "a", Report(waiting=8, answered=1), LIMIT, 105.2)

    assert (before.open, before.starts) == (True, 0)
    assert [grant.starts for grant in tries] == [1, 0, 0]
    assert (after.open, after.slots) == (False, 4)  # `b` waits too


def test_each_failed_try_waits_longer_up_to_a_minute() -> None:
    state, now, waits = EndpointState(), 100.0, []
    for _turn in range(12):
        exchange(state, "a", failed(for_good=True), LIMIT, now)
        waits.append(state.breaker.probe_at - now)
        now = state.breaker.probe_at
        assert exchange(state, "a", Report(waiting=1), LIMIT, now).starts == 1

    assert waits[0] == 5
    assert waits == sorted(waits)
    assert waits[-1] == 60


def test_calls_under_way_when_it_opened_do_not_prolong_the_wait() -> None:
    state = EndpointState()
    exchange(state, "a", failed(for_good=True), LIMIT, 100.0)
    until = state.breaker.probe_at

    exchange(state, "b", failed(30, for_good=True), LIMIT, 100.1)

    assert state.breaker.probe_at == until


def test_an_endpoints_own_wait_holds_for_every_process() -> None:
    state = EndpointState()
    exchange(state, "a", Report(waiting=5, refused=3, wait_s=20), LIMIT, 100.0)

    grants = [exchange(state, process, Report(waiting=5), LIMIT, 119.0) for process in ("a", "b", "c")]

    assert [grant.starts for grant in grants] == [0, 0, 0]
    assert all(grant.paced for grant in grants)
    assert not exchange(state, "b", Report(waiting=5), LIMIT, 120.5).paced


def test_a_process_that_is_gone_gives_its_calls_back() -> None:
    state = EndpointState()
    assert exchange(state, "a", Report(waiting=20), LIMIT, 100.0).slots == 8
    assert exchange(state, "b", Report(waiting=20), LIMIT, 101.0).slots == 0

    assert exchange(state, "b", Report(waiting=20), LIMIT, 106.5).slots == 8


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 20), st.floats(0, 0.09)), min_size=1, max_size=60),
    limit=st.integers(1, 12),
)
def test_all_processes_together_never_have_more_calls_than_the_limit(
    steps: list[tuple[str, int, float]], limit: int
) -> None:
    state, now = EndpointState(), 100.0
    progress: dict[str, int] = {}
    for process, waiting, passed in steps:
        now += passed
        before = progress.get(process, 0)
        slots = exchange(state, process, Report(before, waiting), Settings(slots=limit), now).slots
        progress[process] = min(max(before, slots), before + waiting)
        assert sum(progress.values()) <= limit


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.floats(0, 2)), max_size=200),
    per_minute=st.sampled_from([6.0, 90.0, 600.0]),
)
def test_no_minute_has_more_beginnings_than_configured(steps: list[tuple[str, int, float]], per_minute: float) -> None:
    state, now, began = EndpointState(), 100.0, []
    for process, waiting, passed in steps:
        now += passed
        limits = Settings(slots=100, requests_per_minute=per_minute)
        grant = exchange(state, process, Report(waiting=waiting), limits, now)
        began += [now + grant.first_s + turn * grant.step_s for turn in range(grant.starts)]

    assert all(sum(first <= other < first + 60 for other in began) <= per_minute for first in began)


def test_models_and_judges_of_one_address_model_and_key_share_an_endpoint() -> None:
    red = ModelSpec(name="red", backend="openai", model="m", base_url="http://a/v1", api_key_env="A")
    same = ModelSpec(
        name="other", backend="openai", model="m", base_url="http://a/v1", api_key_env="A", temperature=0.1
    )
    other = ModelSpec(name="red", backend="openai", model="m", base_url="http://a/v1", api_key_env="B")

    assert endpoint_of(red) == endpoint_of(same) != endpoint_of(other)
    assert settings_of(red) == Settings(slots=32)
