"""Whatever is asked may forget, repeat, invent or raise: every item still ends exactly once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.errors import SettingsError
from karma.messages.results import one_result_per_item, storable


@dataclass(frozen=True)
class One:
    item: int
    said: str = ""


def run(items: Sequence[One], groups: Sequence[Sequence[One]], error: Exception | None = None) -> list[One]:
    def ask() -> Iterator[Sequence[One]]:
        yield from groups
        if error is not None:
            raise error

    found = one_result_per_item(
        items, ask, lambda _item, result: result, lambda item, reason: One(item.item, reason), "the oracle"
    )
    return [result for group in found for result in group]


@given(
    st.integers(0, 8),
    st.lists(st.lists(st.integers(0, 12).map(lambda n: One(n, "yes")), max_size=6), max_size=6),
    st.booleans(),
)
def test_every_item_ends_exactly_once(count: int, groups: list[list[One]], raises: bool) -> None:
    found = run([One(n) for n in range(count)], groups, RuntimeError() if raises else None)

    assert sorted(one.item for one in found) == list(range(count))


def test_what_was_forgotten_is_a_failure_that_says_so() -> None:
    assert run([One(1), One(2)], [[One(2, "yes")]]) == [One(2, "yes"), One(1, "the oracle gave no answer")]


def test_what_an_error_leaves_open_is_a_failure_that_names_the_error_and_none_of_its_text() -> None:
    found = run([One(1), One(2)], [[One(1, "yes")]], RuntimeError("a secret"))

    assert found == [One(1, "yes"), One(2, "the oracle failed: RuntimeError")]


def test_an_error_raised_on_purpose_is_passed_on_as_it_was_worded() -> None:
    assert run([One(1)], [], SettingsError("no such model")) == [One(1, "the oracle failed: no such model")]


def test_the_first_of_two_results_stands() -> None:
    assert run([One(1)], [[One(1, "first"), One(1, "second")], [One(1, "third")]]) == [One(1, "first")]


def test_a_result_that_cannot_be_settled_takes_no_item_with_it() -> None:
    def settle(_item: One, result: One) -> One:
        if result.said == "odd":
            raise ValueError
        return result

    def ask() -> Iterator[Sequence[One]]:
        yield [One(1, "yes"), One(2, "odd")]

    groups = one_result_per_item(
        [One(1), One(2)], ask, settle, lambda item, _reason: One(item.item, "failed"), "the oracle"
    )

    assert sorted(one.item for group in groups for one in group) == [1, 2]


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("plain", "plain"),
        ("naïve 😀", "naïve 😀"),
        ("a\x00b", "a\ufffdb"),
        ("half \ud83d", "half ?"),
        ("\ufeffmark", "\ufeffmark"),
    ],
)
def test_only_what_cannot_be_stored_is_replaced(given_text: str, expected: str) -> None:
    assert storable(given_text) == expected


def test_a_result_that_cannot_be_made_valid_fails_alone() -> None:
    def settle(_item: One, result: One) -> One:
        if result.item == 1:
            raise TypeError("a secret")
        return result

    found = one_result_per_item(
        [One(1), One(2)],
        lambda: [[One(1, "odd"), One(2, "yes")]],
        settle,
        lambda item, reason: One(item.item, reason),
        "the oracle",
    )

    assert next(iter(found)) == (One(1, "the oracle returned a result that cannot be used: TypeError"), One(2, "yes"))


@pytest.mark.parametrize(
    ("error", "asked_alone"), [(KeyError("x"), [1, 3]), (SettingsError("no such model"), []), (ConnectionError(), [])]
)
def test_only_an_error_that_may_be_of_one_item_has_each_asked_alone(error: Exception, asked_alone: list[int]) -> None:
    alone = []

    def ask() -> Iterator[Sequence[One]]:
        yield [One(2, "yes")]
        raise error

    def ask_alone(item: One) -> Iterator[Sequence[One]]:
        alone.append(item.item)
        if item.item == 1:
            raise error
        yield [One(item.item, "alone")]

    found = one_result_per_item(
        [One(1), One(2), One(3)],
        ask,
        lambda _item, result: result,
        lambda item, reason: One(item.item, reason),
        "the oracle",
        ask_alone,
    )
    said = {one.item: one.said for group in found for one in group}

    assert alone == asked_alone
    assert said[2] == "yes"
    assert (said[3] == "alone") is bool(asked_alone)
    assert said[1].startswith("the oracle failed: ")
