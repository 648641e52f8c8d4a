"""Shares of a window: never more than there is, nobody starves, and what is free is used."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma_gateway.fairness.shares import is_below_share, is_express, next_places

NAMES = "abcdef"
weights_ = st.fixed_dictionaries({name: st.sampled_from([0.25, 1.0, 2.0, 7.5]) for name in NAMES})
held_ = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 60))
wanting_ = st.sets(st.sampled_from(NAMES), min_size=1)


def fair_shares(size: int, names: set[str], weights: dict[str, float]) -> dict[str, float]:
    return {name: size * weights[name] / sum(weights[other] for other in names) for name in names}


@given(st.integers(1, 50), st.integers(1, 40), held_, wanting_, weights_)
def test_nobody_gets_more_than_is_free_or_its_fair_share(
    size: int, most: int, held: dict[str, int], wanting: set[str], weights: dict[str, float]
) -> None:
    given_ = next_places(size, most, held, wanting, weights)
    assert given_.keys() <= wanting
    assert sum(given_.values()) <= most
    active = wanting | {name for name, places in held.items() if places}
    fair = fair_shares(size, active, weights)
    free = max(0, size - sum(held.values()))
    beyond = {name: held.get(name, 0) + more - max(fair[name], held.get(name, 0)) for name, more in given_.items()}
    assert sum(more for more in beyond.values() if more > 0) <= free + 1e-6


@given(st.integers(1, 50), held_, wanting_, weights_)
def test_free_places_are_used_and_nobody_below_its_share_gets_nothing(
    size: int, held: dict[str, int], wanting: set[str], weights: dict[str, float]
) -> None:
    given_ = next_places(size, 1_000, held, wanting, weights)
    assert sum(held.values()) + sum(given_.values()) >= size
    active = wanting | {name for name, places in held.items() if places}
    for name, share in fair_shares(size, active, weights).items():
        if name in wanting:
            assert held.get(name, 0) + given_.get(name, 0) >= int(share + 1e-9)


@given(st.integers(1, 60), wanting_, weights_)
def test_streams_that_start_together_get_places_by_weight(
    size: int, wanting: set[str], weights: dict[str, float]
) -> None:
    given_ = next_places(size, size, {}, wanting, weights)
    assert sum(given_.values()) == size
    for name, share in fair_shares(size, wanting, weights).items():
        assert given_.get(name, 0) >= min(1, int(share))
        assert given_.get(name, 0) <= share + 1 + len(wanting)


@given(st.integers(2, 200), st.sampled_from([0.001, 0.2, 1.0, 30.0]))
def test_a_stream_gets_a_place_of_those_that_become_free_however_small_its_weight(size: int, weight: float) -> None:
    held = {"a": size - 1}
    assert next_places(size, 1, held, ["a", "b"], {"a": 1.0, "b": weight}) == {"b": 1}


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=200))
def test_whoever_comes_the_places_in_use_stay_bounded(moves: list[tuple[str, bool]]) -> None:
    """Each stream that comes and never gives back adds its share: 1 + 1/2 + 1/3 + … of the window at most."""
    size, held = 12, Counter[str]()
    for name, comes in moves:
        if comes:
            held.update(next_places(size, 5, held, [name], dict.fromkeys(NAMES, 1.0)))
        elif held[name]:
            held[name] -= 1
    assert held.total() <= size * sum(1 / number for number in range(1, len(NAMES) + 1))


def test_one_stream_alone_gets_the_window_and_no_more() -> None:
    assert next_places(10, 4, {"a": 3}, ["a"], {"a": 1.0}) == {"a": 4}
    assert next_places(10, 40, {"a": 3}, ["a"], {"a": 0.1}) == {"a": 7}
    assert next_places(10, 40, {"a": 10}, ["a"], {"a": 1.0}) == {}


def test_a_newcomer_gets_its_share_of_a_window_that_another_holds() -> None:
    even = {"big": 1.0, "new": 1.0}
    assert next_places(10, 40, {"big": 10}, ["big", "new"], even) == {"new": 5}
    assert next_places(10, 40, {"big": 10, "new": 5}, ["big", "new"], even) == {}
    assert next_places(10, 40, {"big": 4, "new": 5}, ["big", "new"], even) == {"big": 1}
    assert next_places(12, 40, {"big": 12}, ["big", "new"], {"big": 1.0, "new": 2.0}) == {"new": 8}


@pytest.mark.parametrize(("held", "below"), [({"a": 10}, True), ({"a": 10, "b": 4}, True), ({"a": 5, "b": 5}, False)])
def test_who_is_below_its_share(held: dict[str, int], below: bool) -> None:
    assert is_below_share("b", 10, held, {"a": 1.0, "b": 1.0}) == below


def test_a_stream_is_express_up_to_half_of_its_share() -> None:
    even = {"a": 1.0, "b": 1.0}
    assert not is_express("a", 1, {}, even), "alone"
    assert is_express("b", 3, {"a": 9}, even)
    assert not is_express("b", 4, {"a": 9}, even)
    assert not is_express("b", 1, {"a": 9, "b": 3}, even)


@given(held_, st.sampled_from(NAMES), st.integers(1, 20), weights_)
def test_no_more_than_half_of_what_is_in_flight_is_admitted_as_express(
    held: dict[str, int], name: str, more: int, weights: dict[str, float]
) -> None:
    if is_express(name, more, held, weights):
        assert held.get(name, 0) + more <= (sum(held.values()) + more) / 2
