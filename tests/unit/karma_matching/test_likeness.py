"""Near-duplicates and likeness of responses."""

import pytest

from karma_matching.likeness import likeness, near_duplicates

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


def test_equal_responses_are_wholly_alike() -> None:
    """And so are those of which nothing is known."""
    assert likeness(0.3, 0.3, {"words": 5.0, "lines": 0.0}, {"words": 5.0, "lines": 0.0}) == 1.0
    assert likeness(None, None, {}, {}) == 1.0


def test_likeness_falls_with_the_difference_in_quality_and_in_length() -> None:
    """Each alone."""
    assert likeness(0.0, 1.0, {}, {}) < likeness(0.0, 0.2, {}, {}) < 1.0
    assert likeness(None, None, {"words": 10}, {"words": 90}) < likeness(None, None, {"words": 80}, {"words": 90}) < 1.0


def test_a_features_unit_does_not_matter() -> None:
    """Characters or kilobytes."""
    assert likeness(None, None, {"x": 10}, {"x": 30}) == pytest.approx(likeness(None, None, {"x": 0.1}, {"x": 0.3}))


def test_quality_counts_only_where_both_have_it() -> None:
    """One score says nothing about likeness."""
    assert likeness(0.9, None, {"words": 3}, {"words": 3}) == 1.0
