"""Batches of similar length, bounded by rows and by padded tokens."""

from __future__ import annotations

from karma.llm.batching import batches


def rows(*lengths: int) -> dict[int, list[int]]:
    return {index: [0] * length for index, length in enumerate(lengths)}


def test_rows_come_in_order_of_length_and_a_group_has_at_most_so_many() -> None:
    assert list(batches(rows(5, 1, 4, 2, 3), 2)) == [[1, 3], [4, 2], [0]]


def test_a_group_has_at_most_so_many_padded_tokens() -> None:
    groups = list(batches(rows(2, 2, 2, 3, 8, 20), 32, most_tokens=9))

    assert groups == [[0, 1, 2], [3], [4], [5]]  # a row that is longer than the limit is alone


def test_what_may_be_generated_counts_as_padded_tokens() -> None:
    room = dict.fromkeys(range(4), 6)

    assert list(batches(rows(2, 2, 2, 2), 32, room, most_tokens=16)) == [[0, 1], [2, 3]]
    assert list(batches(rows(2, 2, 2, 2), 32, room)) == [[0, 1, 2, 3]]


def test_a_row_with_less_than_half_of_the_room_begins_a_group() -> None:
    assert list(batches(rows(1, 2), 32, {0: 10, 1: 4})) == [[0], [1]]
