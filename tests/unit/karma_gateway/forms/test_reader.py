"""Prompts of every form, the mapping of columns, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from karma.errors import SettingsError
from karma.store.records import NewPrompt
from karma_gateway.forms.reader import PromptReader, mapping_of
from karma_gateway.json_values import RefusedError
from karma_gateway.prompt_lines import read
from karma_gateway.sources.items import Fault, Line, Row

LIMIT = 1000


def prompt(row: dict[str, Any], reader: PromptReader | None = None) -> NewPrompt:
    return (reader or PromptReader(LIMIT))(Row("t", 1, row))


def turns(found: NewPrompt) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in json.loads(found.messages)]


def refused(row: dict[str, Any], reader: PromptReader | None = None) -> str:
    with pytest.raises(RefusedError) as caught:
        prompt(row, reader)
    return str(caught.value)


def chat(*contents: str) -> list[dict[str, str]]:
    return [{"from": "gpt" if place % 2 else "human", "value": text} for place, text in enumerate(contents)]


def test_alpaca_is_the_instruction_with_its_input_and_the_output_travels_along() -> None:
    reader = PromptReader(LIMIT)
    found = prompt({"instruction": "Sort.", "input": "3, 1", "output": "1, 3", "text": None}, reader)
    assert turns(found) == [("user", "Sort.\n\n3, 1")]
    assert json.loads(found.metadata or "") == {"output": "1, 3"}
    assert turns(prompt({"instruction": "Go.", "input": "", "output": "x"}, reader)) == [("user", "Go.")]
    assert reader.sentences() == ["Alpaca form: 2 prompts from instruction + input"]


def test_the_system_text_of_an_alpaca_row_is_a_turn() -> None:
    assert turns(prompt({"system": "Be brief.", "instruction": "Go."})) == [("system", "Be brief."), ("user", "Go.")]


def test_sharegpt_gives_turns_with_its_id_and_the_system_text() -> None:
    row = {"id": "a1", "conversations": chat("q", "a", "q2"), "system": "s", "source": "web"}
    found = prompt(row)
    assert turns(found) == [("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "q2")]
    assert (found.prompt_id, json.loads(found.metadata or "")) == ("a1", {"source": "web"})


def test_a_chat_that_ends_with_the_assistant_is_refused_or_cut_and_counted() -> None:
    row = {"conversations": chat("q", "a", "q2", "a2")}
    assert "or leave it out: --cut-last-assistant" in refused(row)
    reader = PromptReader(LIMIT, cut_last_assistant=True)
    assert turns(prompt(row, reader)) == [("user", "q"), ("assistant", "a"), ("user", "q2")]
    assert turns(prompt({"prompt": "p"}, reader)) == [("user", "p")]
    assert reader.sentences()[-1] == "1 chats were cut before their last assistant turn"
    assert "the last of `messages` has the role 'assistant'" in refused(
        {"messages": [{"role": "assistant", "content": "a"}]}, reader
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"conversations": [{"from": "function_call", "value": "{}"}]}, "is a turn of a tool ('function_call')"),
        ({"conversations": chat("q"), "tools": "[{}]"}, "has definitions of `tools`"),
        ({"conversations": [{"from": "robot", "value": "x"}]}, r"`conversations[0].from` is a string ('robot')"),
        ({"conversations": [{"from": ["human"], "value": "x"}]}, r"`conversations[0].from` is a list of 1"),
        ({"conversations": [{"text": "x"}]}, "must have `from` and `value`, found the fields text"),
        ({"conversations": ["x"]}, "`conversations[0]` must be an object"),
        ({"conversations": []}, "`conversations` must be a list with at least one element, found an empty list"),
        ({"conversations": "[" * 100_000}, "`conversations` is no list in JSON"),
        ({"instruction": 7}, "`instruction` must be a string, found a number (7)"),
        ({"instruction": " "}, "`instruction` is empty"),
        (
            {"question": "q", "answer": "a"},
            "found the columns question, answer; name the one that holds the prompt: --map",
        ),
        ({"prompt": None}, "found no column with a value"),
        ({"prompt": "a\ud800"}, "contains a lone surrogate"),
        ({"prompt": "a\x00"}, "contains a NUL character"),
        ({"prompt": "p", "picture": b"\x89PNG"}, "`picture` holds bytes; leave it out: --drop picture"),
        ({"prompt": "p", "n": [float("inf")]}, "`n` holds a value that JSON cannot hold"),
        ({"prompt": "p" * 990, "more": "x" * 20}, "more than the limit of 1,000 bytes"),
        ({"prompt": "ä" * 600}, "more than the limit of 1,000 bytes"),
    ],
)
def test_what_cannot_be_held_is_refused_in_one_sentence(row: dict[str, Any], said: str) -> None:
    assert said in refused(row)


def test_a_fault_of_the_source_and_a_line_that_is_no_object_are_refused() -> None:
    for item, said in [
        (Fault("t", 3, "cut"), "cut"),
        (Line("t", 1, b"[1]"), "found a list"),
        (Line("t", 1, b"{"), "not JSON"),
    ]:
        with pytest.raises(RefusedError, match=said):
            PromptReader(LIMIT)(item)
    with pytest.raises(RefusedError, match="nested too deeply"):
        PromptReader(1 << 20)(Line("t", 1, b'{"prompt": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"))


def test_a_column_is_mapped_and_every_other_one_is_metadata() -> None:
    reader = PromptReader(LIMIT, mapping=mapping_of(["prompt=question", "skill=topic", "responses.gpt=a=1"]))
    row = {"question": "Why?", "topic": "physics", "a=1": "So.", "prompt": "other", "id": 7}
    found = prompt(row, reader)
    assert turns(found) == [("user", "Why?")]
    assert (found.skill, found.prompt_id) == ("physics", "7")
    assert json.loads(found.given or "") == [["gpt", 0, "So."]]
    assert json.loads(found.metadata or "") == {"prompt": "other"}
    assert reader.sentences() == ["mapped form: 1 prompts from question + topic + a=1"]
    assert refused({"query": "Why?"}, reader) == "has no column 'question' (--map); found the columns query"


def test_a_system_column_is_a_turn_before_the_prompt() -> None:
    reader = PromptReader(LIMIT, mapping=mapping_of(["prompt=q", "system=s"]))
    assert turns(prompt({"q": "Why?", "s": "Be kind."}, reader)) == [("system", "Be kind."), ("user", "Why?")]
    assert turns(prompt({"q": "Why?", "s": None}, reader)) == [("user", "Why?")]


def test_a_mapped_field_of_a_known_form_is_renamed() -> None:
    reader = PromptReader(LIMIT, mapping=mapping_of(["skill=category"]))
    found = prompt({"instruction": "Go.", "category": "sport"}, reader)
    assert (turns(found), found.skill, found.metadata) == ([("user", "Go.")], "sport", None)


@pytest.mark.parametrize(
    "options", [["prompt"], ["prompt="], ["text=a"], ["responses.=a"], ["prompt=a", "messages=b"], ["id=a", "id=b"]]
)
def test_a_wrong_mapping_says_what_is_expected(options: list[str]) -> None:
    with pytest.raises(SettingsError, match="--map"):
        mapping_of(options)


def test_rows_of_one_source_may_have_different_forms() -> None:
    reader = PromptReader(LIMIT)
    for row in ({"prompt": "p"}, {"instruction": "i"}, {"conversations": chat("q")}, {"instruction": "j"}):
        prompt(row, reader)
    assert reader.data() == [
        {"form": "KARMA", "columns": ["prompt"], "prompts": 1},
        {"form": "Alpaca", "columns": ["instruction"], "prompts": 2},
        {"form": "ShareGPT", "columns": ["conversations"], "prompts": 1},
    ]


def test_messages_may_be_a_chat_in_prompt_or_json_in_a_cell() -> None:
    chat_ = [{"role": "user", "content": "hi", "name": None}]
    assert turns(prompt({"prompt": chat_})) == turns(prompt({"messages": json.dumps(chat_)})) == [("user", "hi")]


def test_a_table_may_have_columns_whose_names_are_near_to_fields_and_a_line_may_not() -> None:
    assert prompt({"prompt": "p", "respones": "x"}).metadata
    with pytest.raises(RefusedError, match="did you mean 'responses'"):
        PromptReader(LIMIT)(Line("t", 1, b'{"prompt": "p", "respones": "x"}'))


@pytest.mark.parametrize(
    "line",
    [
        b'{"prompt": "p\xc3\xa4"}',
        b'{"prompt": "p", "id": "i", "skill": "s", "reference": "r", "b": {"y": 1.5, "x": [null]}, "a": "\\u0000"}',
        b'{"messages": [{"role": "user", "content": "q"}], "responses": {"m": "t", "n": "u"}}',
    ],
)
def test_lines_in_the_own_form_are_the_prompts_of_earlier_versions(line: bytes) -> None:
    assert PromptReader(LIMIT, priority=3)(Line("t", 1, line)) == read(line, LIMIT, 3)


def test_a_column_that_is_named_but_that_no_row_has_is_said() -> None:
    reader = PromptReader(
        LIMIT, mapping=mapping_of(["prompt=q", "responses.m=anwser"]), dropped=frozenset({"note", "nope"})
    )
    prompt({"q": "Why?", "answer": "So.", "note": None}, reader)
    assert reader.sentences()[-1] == "no row has a column called anwser, nope (--map, --drop)"
    prompt({"q": "How?", "anwser": "Thus.", "nope": 1}, reader)
    assert not any("no row" in said for said in reader.sentences())
