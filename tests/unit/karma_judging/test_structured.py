"""A verdict as JSON is exactly one object of the schema, or none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from karma_judging.structured import RESPONSE_FORMAT, parse_structured

SCHEMA = RESPONSE_FORMAT["json_schema"]["schema"]


@pytest.mark.parametrize(("label", "probability"), [("A", 1.0), ("B", 0.0), ("tie", 0.5)])
def test_an_object_of_the_schema_is_a_verdict_with_its_reasoning(label: str, probability: float) -> None:
    text = json.dumps({"reasoning": ' "B" is longer. Verdict: B ', "verdict": label}, indent=1)

    assert parse_structured(f"\n{text}\n") == (probability, '"B" is longer. Verdict: B')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Verdict: A",
        "[]",
        '"A"',
        '[["reasoning", "x"], ["verdict", "A"]]',
        '{"verdict": "A"}',
        '{"reasoning": "x", "verdict": "a"}',
        '{"reasoning": "x", "verdict": "A "}',
        '{"reasoning": "x", "verdict": ["A"]}',
        '{"reasoning": {"x": 1}, "verdict": "A"}',
        '{"reasoning": null, "verdict": "A"}',
        '{"reasoning": "x", "verdict": "A", "winner": "A"}',
        '{"reasoning": "x", "verdict": "A", "verdict": "B"}',
        '{"reasoning": "x", "verdict": "A"} or rather B',
        '```json\n{"reasoning": "x", "verdict": "A"}\n```',
        '{"reasoning": "x", "verdict": "A"',
        '{"reasoning": "x", "verdict": ' + "[" * 50_000,
        '{"reasoning": "' + "x" * 100_000 + '", "verdict": "A"}',
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert parse_structured(text) == (None, None)


@given(st.text(max_size=50), st.sampled_from(["A", "B", "tie", "C", ""]))
def test_what_is_read_fits_the_schema_that_was_asked_for(reasoning: str, label: str) -> None:
    answer = {"reasoning": reasoning, "verdict": label}

    found, _reasoning = parse_structured(json.dumps(answer))

    assert (found is not None) == Draft202012Validator(SCHEMA).is_valid(answer)


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    parse_structured(text)
