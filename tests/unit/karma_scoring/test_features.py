"""Features of complexity: counts that a reader could check by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma_scoring.features import features


def test_structure_is_counted() -> None:
    found = features("# Title\n\nOne two. Two!\n\n- a\n- b\n1. c\n\n```\ncode\n```\n")
    assert found["headings"] == 1
    assert found["list_items"] == 3
    assert found["code_blocks"] == 1
    assert found["words"] == 14


def test_repetition_lowers_lexical_variety() -> None:
    assert features("a b c d")["lexical_variety"] > features("a a a a")["lexical_variety"]


def test_shares_are_of_characters() -> None:
    assert features("A1b2")["digit_share"] == pytest.approx(0.5)
    assert features("A1b2")["capital_share"] == pytest.approx(0.25)


@given(st.text())
def test_every_text_has_finite_features(text: str) -> None:
    found = features(text)
    assert found["characters"] == len(text)
    assert all(0 <= value < float("inf") for value in found.values())


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_texts_have_the_features_of_others(text: str) -> None:
    """They are measured in another, faster way; the appended letter has neither case nor is a digit or a space."""
    fast, slow = features(text + "a"), features(text + "ª")
    del fast["lexical_variety"], slow["lexical_variety"]
    assert fast == slow
    assert features(text + " a")["lexical_variety"] == features(text + " ª")["lexical_variety"] or "a" in text.lower()
