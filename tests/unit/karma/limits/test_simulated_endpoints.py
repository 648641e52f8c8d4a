"""Gates and shared limits against endpoints in virtual time."""

from __future__ import annotations

import pytest

from karma.limits.gate import Outcome
from karma.limits.state import EndpointState, Settings
from tests.support.simulated_endpoint import (
    Endpoint,
    Simulation,
    fixed_minutes,
    refusing_at_random,
    saturating,
    token_bucket,
)

BEGAN = 1_000.0


def most_in_a_minute(moments: list[float]) -> int:
    ordered = sorted(moments)
    first = most = 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - 60:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("processes", [1, 5])
@pytest.mark.parametrize("allows", ["bucket", "minutes"])
def test_a_configured_rate_is_used_and_never_exceeded(processes: int, allows: str) -> None:
    settings = Settings(slots=32, requests_per_minute=600)
    decide = token_bucket(600, 10) if allows == "bucket" else fixed_minutes(600)

    endpoint = Simulation(settings, Endpoint(decide), processes, calls=16).run(90).endpoint

    assert endpoint.refused == []
    assert len(endpoint.answered) >= 0.96 * 900
    assert most_in_a_minute(endpoint.answered) <= 600


def test_an_unknown_rate_is_learned_from_429() -> None:
    endpoint = Simulation(Settings(slots=32), Endpoint(token_bucket(600, 10)), 3, calls=32).run(120).endpoint

    assert len(endpoint.answered) >= 0.9 * 1_200
    assert len(endpoint.refused) <= 0.3 * 1_200


def test_an_unknown_allowance_per_minute_is_used_up_and_waited_for() -> None:
    endpoint = Simulation(Settings(slots=32), Endpoint(fixed_minutes(300)), 2, calls=32).run(200).endpoint

    in_whole_minutes = [moment for moment in endpoint.answered if 1_020 <= moment < 1_200]
    assert len(in_whole_minutes) >= 0.85 * 3 * 300
    assert len(endpoint.refused) <= 0.17 * 900


def test_a_delay_that_one_call_is_asked_for_costs_no_beginnings_of_others() -> None:
    """A few calls are refused with a delay of 20 ms, at a configured rate."""
    settings = Settings(slots=8, requests_per_minute=1_800)
    endpoint = Simulation(settings, Endpoint(refusing_at_random(0.08)), 1, calls=16).run(30).endpoint

    assert len(endpoint.answered) + len(endpoint.refused) >= 0.9 * 900


def test_few_refusals_among_few_calls_lower_no_rate() -> None:
    endpoint = Simulation(Settings(slots=4), Endpoint(refusing_at_random(0.08, latency_s=0.5)), 2, calls=8).run(120)

    assert len(endpoint.endpoint.answered) >= 0.85 * 120 * 4 / 0.5


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_refusals_that_no_lower_rate_prevents_do_not_slow_an_endpoint_down(share: float) -> None:
    endpoint = Simulation(Settings(slots=4), Endpoint(refusing_at_random(share)), 2, calls=8).run(60).endpoint

    later = [moment for moment in endpoint.answered if moment >= BEGAN + 20]
    assert len(later) >= 0.3 * 40 * 4 / 0.01


def test_tokens_per_minute_are_kept_though_calls_need_more_than_expected() -> None:
    tokens: list[tuple[float, int]] = []

    def decide(endpoint: Endpoint, now: float) -> Outcome:
        used = 180 if len(tokens) % 2 else 220
        tokens.append((now, used))
        return Outcome("answered", 0.05, tokens=used)

    Simulation(Settings(slots=32, tokens_per_minute=60_000), Endpoint(decide), 2, calls=16).run(90)

    by_minute = [sum(used for moment, used in tokens if begin <= moment < begin + 60) for begin in (1_010.0, 1_030.0)]
    assert all(0.93 * 60_000 <= used <= 1.02 * 60_000 for used in by_minute), by_minute


@pytest.mark.parametrize("start", [8, 32])
def test_the_adaptive_limit_finds_what_an_endpoint_can_do_at_once(start: int) -> None:
    settings = Settings(slots=start, adaptive=True)

    endpoint = Simulation(settings, Endpoint(saturating(32)), 2, calls=64).run(60).endpoint

    later = [moment for moment in endpoint.answered if moment >= BEGAN + 20]
    assert len(later) >= 0.9 * 40 * 32 / 0.05


def test_a_fixed_limit_of_concurrent_calls_holds_over_all_processes() -> None:
    simulation = Simulation(Settings(slots=7), Endpoint(saturating(100)), processes=4, calls=8).run(20)

    assert simulation.endpoint.most_in_progress == 7
    assert len(simulation.endpoint.answered) >= 0.9 * 20 * 7 / 0.05


def test_a_limit_of_fewer_calls_than_processes_reaches_each_of_them() -> None:
    simulation = Simulation(Settings(slots=2), Endpoint(saturating(100)), processes=6, calls=4)

    answered = simulation.run(60).answered_by

    assert simulation.endpoint.most_in_progress == 2
    assert len(answered) == 6


def test_an_outage_costs_its_own_time_and_few_calls() -> None:
    def decide(_endpoint: Endpoint, now: float) -> Outcome:
        if 1_020 <= now < 1_080:
            return Outcome("failed", kind="connection", reason="connection dropped")
        return Outcome("answered", 0.05)

    endpoint = Simulation(Settings(slots=16), Endpoint(decide), 3, calls=16).run(130).endpoint

    back = min(moment for moment in endpoint.answered if moment >= 1_080)
    assert back <= 1_091
    assert len(endpoint.failed) <= 700  # a second of failing calls, then one at a time
    assert len([moment for moment in endpoint.failed if moment > 1_022]) <= 20
    assert len([moment for moment in endpoint.answered if moment >= back + 1]) >= 0.9 * 38 * 16 / 0.05


def test_a_spent_quota_is_left_alone_at_once() -> None:
    endpoint = Simulation(
        Settings(slots=16),
        Endpoint(lambda _endpoint, _now: Outcome("failed", for_good=True, kind="quota", reason="out of quota")),
        2,
        calls=16,
    ).run(60)

    assert len(endpoint.endpoint.failed) <= 32 + 8
    assert endpoint.state.breaker.reason == "out of quota"


def test_a_limit_lost_with_redis_begins_empty() -> None:
    def lose(simulation: Simulation) -> None:
        simulation.state = EndpointState()

    settings = Settings(slots=32, requests_per_minute=600)
    simulation = Simulation(settings, Endpoint(token_bucket(600, 10)), 4, calls=16)

    endpoint = simulation.run(90, dict.fromkeys((20.0, 40.0, 60.0), lose)).endpoint

    assert endpoint.refused == []
    assert most_in_a_minute(endpoint.answered) <= 600
    assert len(endpoint.answered) >= 0.94 * 900
