"""The formats of exports are contracts: `exports.json` holds the rows of one preference in each, and may only grow."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from karma import plugins
from karma.plugins.registry import EXPORTERS
from karma_gateway.exporters import UnrepresentableError
from karma_gateway.exports.columns import hold

RECORDED = json.loads((Path(__file__).parent / "exports.json").read_text())

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "What is 2 + 2?"}
EARLIER = {"role": "assistant", "content": "Hello."}
CALL = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": "2"}'}}
TOOL_TURNS = [
    USER,
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "4", "tool_call_id": "c"},
]


def preference(turns: list[dict[str, Any]], **changed: Any) -> SimpleNamespace:
    """A preference with the given prompt, as an exporter gets it."""
    values = {
        **{"id": 7, "stream": "default", "prompt_id": "p", "messages": json.dumps(turns)},
        **{"response_a": 1, "response_b": 2, "chosen": 2, "rejected": 1, "probability": 0.125},
        **{"chosen_text": " It is 4.\n", "rejected_text": "It is 5."},
        **{"chosen_model": "big", "rejected_model": "small"},
    }
    return SimpleNamespace(**{**values, **changed})


def rows(name: str, one: SimpleNamespace) -> list[dict[str, Any]]:
    """The rows of a preference, each held against the declared types."""
    part = plugins.find("exporters", name)
    made = part(one, True)
    types = {column: type_ for column, type_ in part.columns.items() if column != "karma"}
    return [hold(row, types) for row in ([made] if isinstance(made, dict) else made)]


def test_every_format_is_recorded() -> None:
    assert RECORDED.keys() == EXPORTERS.keys()


@pytest.mark.parametrize("name", EXPORTERS)
def test_the_columns_of_a_format_are_those_that_were_recorded(name: str) -> None:
    made = rows(name, preference([SYSTEM, USER]))
    assert made == RECORDED[name]
    assert [list(row) for row in made] == [list(row) for row in RECORDED[name]]  # in this order


REFUSED = [
    ("several turns", [USER, EARLIER, USER], ["distilabel"]),
    ("tool calls and their results", TOOL_TURNS, ["axolotl", "distilabel", "llama-factory", "nemo-rl"]),
    ("turns of a developer", [{**SYSTEM, "role": "developer"}, USER], ["axolotl", "distilabel", "llama-factory"]),
    ("the names of speakers", [{**USER, "name": "Ann"}], ["axolotl", "distilabel", "llama-factory", "nemo-rl"]),
    ("turns other than user and assistant in turn", [USER, USER], ["llama-factory"]),
]


@pytest.mark.parametrize(("what", "turns", "names"), REFUSED)
def test_a_format_refuses_what_it_has_no_place_for_and_every_other_one_keeps_it(
    what: str, turns: list[dict[str, Any]], names: list[str]
) -> None:
    for name in EXPORTERS:
        if name in names:
            with pytest.raises(UnrepresentableError, match=what):
                rows(name, preference(turns))
        elif name != "distilabel":  # which has no place for two turns of any kind
            (row, *_others) = rows(name, preference(turns))
            kept = json.dumps(row)
            assert all(json.dumps(turn["content"]) in kept for turn in turns)
            assert all(json.dumps(turn["name"]) in kept for turn in turns if "name" in turn)
            assert all('"arguments"' in kept for turn in turns if "tool_calls" in turn)


@pytest.mark.parametrize("text", ["user", "me", "t", "INST", "end_of_turn"])
def test_axolotl_refuses_a_response_that_it_would_find_in_the_frame_of_a_template(text: str) -> None:
    with pytest.raises(UnrepresentableError, match="in the frame of a chat template"):
        rows("axolotl", preference([USER], rejected_text=text))


def test_axolotl_refuses_responses_that_white_space_alone_tells_apart() -> None:
    with pytest.raises(UnrepresentableError, match="outer white space only"):
        rows("axolotl", preference([USER], rejected_text="It is 4."))


@pytest.mark.parametrize(("probability", "margin"), [(0.0, 4.595), (0.001, 4.595), (0.125, 1.946), (0.4999999, 0.0)])
@pytest.mark.parametrize("name", ["reward", "openrlhf"])
def test_margins_are_finite_logits(name: str, probability: float, margin: float) -> None:
    (row,) = rows(name, preference([USER], probability=probability))
    assert row["margin"] == pytest.approx(margin, abs=1e-3)
