"""Near-duplicates and similarity of responses."""

import math

import pytest

from karma.policies.similarity import near_duplicates, similarity

LONG = " ".join(f"word{letter}{other}" for letter in "abcdefghij" for other in "klmnopqrst")


def test_texts_that_differ_only_in_case_and_white_space_are_duplicates() -> None:
    """However short."""
    assert near_duplicates(["Yes.", "no", "  yes.\n"]) == {(0, 2)}


def test_a_short_text_with_another_word_is_another_answer() -> None:
    """Also where the words are the same in another order."""
    assert near_duplicates(["answer: 169", "answer: 168", "a b c", "c b a"]) == set()


def test_a_long_text_with_one_other_word_is_a_near_duplicate() -> None:
    """One of a hundred words: 97 % of the shingles are shared, less what the replacement adds."""
    assert near_duplicates([LONG, LONG.replace("wordep", "other")]) == {(0, 1)}


def test_a_long_derivation_with_another_number_is_another_answer() -> None:
    """The number is what the preference is about."""
    assert near_duplicates([f"{LONG} so it is 41", f"{LONG} so it is 42"]) == set()


def test_texts_of_other_words_are_no_duplicates() -> None:
    """Though they are equally long."""
    assert near_duplicates([LONG, LONG.replace("word", "term")]) == set()


def of_two(qualities: list[float | None], *features: dict[str, float]) -> float:
    return similarity(*qualities, *features)


def test_equal_responses_are_wholly_alike() -> None:
    """And so are those of which nothing is known."""
    assert of_two([0.3, 0.3], {"words": 5.0, "lines": 0.0}, {"words": 5.0, "lines": 0.0}) == 1.0
    assert of_two([None, None], {}, {}) == 1.0


def test_similarity_falls_with_the_difference_in_quality_and_in_length() -> None:
    """Each alone."""
    nothing: list[float | None] = [None, None]
    assert of_two([0.0, 1.0], {}, {}) < of_two([0.0, 0.2], {}, {}) < 1.0
    assert of_two(nothing, {"words": 10}, {"words": 90}) < of_two(nothing, {"words": 80}, {"words": 90}) < 1.0


def test_a_features_unit_does_not_matter() -> None:
    """Characters or kilobytes."""
    nothing: list[float | None] = [None, None]
    assert of_two(nothing, {"x": 10}, {"x": 30}) == pytest.approx(of_two(nothing, {"x": 0.1}, {"x": 0.3}))


def test_quality_counts_only_where_both_have_it() -> None:
    """One score says nothing about similarity."""
    assert of_two([0.9, None], {"words": 3}, {"words": 3}) == 1.0


def test_both_parts_count_the_same_and_only_features_of_both() -> None:
    """e^-0.4 for the quality; for the complexity 1 less the mean of |10 - 30| / 40 and 0."""
    features = {"words": 10.0, "lines": 2.0, "lists": 1.0}, {"words": 30.0, "lines": 2.0, "variety": 9.0}
    assert of_two([0.5, 0.9], *features) == pytest.approx((math.exp(-0.4) + 1.0 - (0.5 + 0.0) / 2) / 2)
