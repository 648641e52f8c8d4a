"""Text of models on a terminal: nothing in it moves the cursor, colours the screen or turns the reading direction."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.telemetry.escaping import escape_control, escape_json, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("back\x08space\x7f", "back\\x08space\\x7f"),
        ("\u202eevil", "\\u202eevil"),
        ("one\ttwo\nthree\r\nfour", "one two three four"),
        ("over\rwritten", "over\\x0dwritten"),
        ("\x9b31m", "\\x9b31m"),
        ("\U000e0041tag", "\\U000e0041tag"),
        ("naïve 漢字 👩\u200d🔬 – ½", "naïve 漢字 👩\u200d🔬 – ½"),
    ],
)
def test_control_and_format_characters_are_spelled_out(text: str, shown: str) -> None:
    assert escape_control(text) == shown


def test_line_breaks_are_kept_where_they_are_wanted() -> None:
    assert escape_control("one\r\ntwo\n\x1b", lines=True) == "one\ntwo\n\\x1b"


@given(st.text())
def test_no_text_holds_a_control_character_afterwards(text: str) -> None:
    assert not {unicodedata.category(character) for character in escape_control(text)} & {"Cc", "Cs", "Zl", "Zp"}
    assert escape_control(escape_control(text)) == escape_control(text)


def test_a_long_text_says_how_much_is_left_out() -> None:
    assert shortened("a" * 1500, 10) == "aaaaaaaaaa… (1,490 more characters)"
    assert shortened("a" * 10, 10) == "a" * 10
    assert shortened("a" * 1500, 0) == "a" * 1500


@given(st.text())
def test_json_for_a_terminal_means_the_same_and_controls_nothing(text: str) -> None:
    shown = escape_json(json.dumps({"response": text}, ensure_ascii=False))

    assert json.loads(shown) == {"response": text}
    assert escape_control(shown) == shown


def test_json_keeps_its_letters() -> None:
    assert escape_json('{"a": "naïve 漢字"}\n') == '{"a": "naïve 漢字"}\n'
