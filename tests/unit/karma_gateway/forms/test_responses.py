"""Rows with responses, laid out as the cards of published datasets say; all texts are made up here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from karma.store.records import NewPrompt
from karma_gateway.forms.reader import PromptReader
from karma_gateway.json_values import RefusedError
from karma_gateway.sources.items import Line, Row


def chat(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    turns = [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system else []) + turns


def read(row: dict[str, Any]) -> tuple[str, NewPrompt]:
    """The recognized form, and the prompt."""
    reader = PromptReader(10_000, verdicts_as="source")
    found = reader(Row("t", 1, json.loads(json.dumps(row))))
    (form,) = {form for form, _columns in reader.prompts}
    return form, found


def responses(found: NewPrompt) -> dict[str, str]:
    return {model: text for model, _sample, text in json.loads(found.given or "[]")}


def ratings(found: NewPrompt) -> dict[str, float]:
    """The rating of each response by its text."""
    texts = {(model, sample): text for model, sample, text in json.loads(found.given or "[]")}
    kept = json.loads(found.metadata or "{}").get("karma_ratings", {"by": "source", "of": []})
    assert kept["by"] == "source"
    return {texts[model, sample]: rating for model, sample, rating in kept["of"]}


def turns(found: NewPrompt) -> list[str]:
    return [turn["content"] for turn in json.loads(found.messages)]


def annotation(*values: object) -> dict[str, Any]:
    names = ("instruction_following", "honesty", "truthfulness", "helpfulness")
    return {name: {"Rating": value, "Rationale": "because"} for name, value in zip(names, values, strict=True)}


ULTRAFEEDBACK = {
    "source": "made up",
    "instruction": "Name a river.",
    "models": ["m1", "m2", "m3"],
    "completions": [
        {"model": "m1", "response": "Rhine", "annotations": annotation("4", "5", "N/A", "3"), "overall_score": 10.0},
        {"model": "m2", "response": "Nile", "annotations": annotation("1", "1", "2", "1"), "overall_score": 10.0},
        {"model": "m3", "response": "Po", "annotations": annotation("N/A", "N/A", "N/A", "N/A"), "overall_score": 5.0},
    ],
    "correct_answers": ["None"],
    "incorrect_answers": ["None"],
}
ARENA = {
    "id": 30192,
    "model_a": "m1",
    "model_b": "m2",
    "prompt": '["Hi"]',
    "response_a": '["one"]',
    "response_b": '["two"]',
    **{"winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0},
}
SAFER = {
    **{"prompt": "Hi", "response_0": "one", "response_1": "two", "prompt_source": "x"},
    **{"response_0_source": "m1", "response_1_source": "m2", "better_response_id": 1, "safer_response_id": 0},
}
EVAL = {
    **{"instruction": "Hi", "output_1": "one", "output_2": "two", "generator_1": "m1", "generator_2": "m2"},
    **{"annotator": "a judge", "preference": 2.0, "dataset": "made up"},
}
STEER = {"domain": "general", "language": "english", "context": chat("Hi"), "response1": "one", "response2": "two"}
BINARIZED = {
    **{"prompt": "Hi", "prompt_id": "a1", "chosen": chat("Hi", "one"), "rejected": chat("Hi", "two")},
    **{"messages": chat("Hi", "one"), "score_chosen": 8.0, "score_rejected": 2.5},
}
ONE_WINS, TWO_WINS, TIE = {"one": 1.0, "two": 0.0}, {"one": 0.0, "two": 1.0}, {"one": 0.5, "two": 0.5}


@pytest.mark.parametrize(
    ("row", "form", "asked", "rated"),
    [
        (ULTRAFEEDBACK, "UltraFeedback", ["Name a river."], {"Rhine": 4.0, "Nile": 1.25}),
        (BINARIZED, "chosen and rejected", ["Hi"], ONE_WINS),
        ({**BINARIZED, "score_chosen": 2.5}, "chosen and rejected", ["Hi"], TIE),
        (
            {
                **{
                    "source": "x",
                    "prompt": "Hi",
                    "chosen": chat("Hi", "one"),
                    "chosen-rating": 4.5,
                    "chosen-model": "m1",
                },
                **{"rejected": chat("Hi", "two"), "rejected-rating": 3.0, "rejected-model": "m2"},
            },
            "chosen and rejected",
            ["Hi"],
            ONE_WINS,
        ),
        (
            {
                **{"instruction": "Hi", "chosen_response": "one", "rejected_response": "two", "chosen_model": "m1"},
                **{"chosen_avg_rating": 4.5, "rejected_avg_rating": 3.0},
            },
            "chosen and rejected",
            ["Hi"],
            ONE_WINS,
        ),
        (
            {
                **{"id": "x-1", "source": "x", "prompt": "More", "chosen_model": "m1", "rejected_model": "m2"},
                **{"chosen": chat("Hi", "Yes?", "More", "one"), "rejected": chat("Hi", "Yes?", "More", "two")},
            },
            "chosen and rejected",
            ["Hi", "Yes?", "More"],
            ONE_WINS,
        ),
        (
            {"chosen": chat("Hi", "one"), "rejected": chat("Hi", "two"), "source": "x"},
            "chosen and rejected",
            ["Hi"],
            ONE_WINS,
        ),
        (
            {
                "prompt": chat("Hi"),
                "chosen": [{"role": "assistant", "content": "one"}],
                "rejected": [{"role": "assistant", "content": "two"}],
            },
            "chosen and rejected",
            ["Hi"],
            ONE_WINS,
        ),
        ({"prompt": "Hi", "chosen": "one", "rejected": "two"}, "chosen and rejected", ["Hi"], ONE_WINS),
        (
            {"instruction": "Hi", "generations": ["one", "two"], "generation_models": ["m1", "m2"], "ratings": [3, 5]},
            "distilabel",
            ["Hi"],
            {"one": 3.0, "two": 5.0},
        ),
        (
            {"instruction": "Hi", "generations": ["one", "two"], "ratings": [3, None]},
            "distilabel",
            ["Hi"],
            {"one": 3.0},
        ),
        ({**STEER, "overall_preference": -2}, "HelpSteer3", ["Hi"], ONE_WINS),
        ({**STEER, "overall_preference": 1}, "HelpSteer3", ["Hi"], TWO_WINS),
        ({**STEER, "overall_preference": 0}, "HelpSteer3", ["Hi"], TIE),
        (
            {
                **{"prompt": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: More\n\nAssistant: ", "turns": 2},
                "answers": [
                    {"answer": "one", "model": "m1", "rank": 2.0},
                    {"answer": "two", "model": "m2", "rank": 1.0},
                ],
                **{"num_responses": 2, "source": ["x"], "good_natured": True},
            },
            "Nectar",
            ["Hi", "Yes?", "More"],
            {"one": -2.0, "two": -1.0},
        ),
        (ARENA, "arena votes", ["Hi"], TWO_WINS),
        ({**ARENA, "winner_model_b": 0, "winner_tie": 1}, "arena votes", ["Hi"], TIE),
        ({**ARENA, "winner_tie": 1}, "arena votes", ["Hi"], {}),
        (
            {
                **{"model_a": "m1", "model_b": "m2", "winner": "tie (bothbad)"},
                **{"conversation_a": chat("Hi", "one"), "conversation_b": chat("Hi", "two")},
            },
            "arena chats",
            ["Hi"],
            TIE,
        ),
        (SAFER, "PKU-SafeRLHF", ["Hi"], TWO_WINS),
        ({**SAFER, "better_response_id": 0}, "PKU-SafeRLHF", ["Hi"], ONE_WINS),
        ({**SAFER, "better_response_id": None}, "PKU-SafeRLHF", ["Hi"], {}),
        (EVAL, "AlpacaEval", ["Hi"], TWO_WINS),
        ({**EVAL, "preference": 1.0001}, "AlpacaEval", ["Hi"], ONE_WINS),
        ({**EVAL, "preference": 1.5}, "AlpacaEval", ["Hi"], TIE),
        ({**EVAL, "preference": None}, "AlpacaEval", ["Hi"], {}),
        (
            {"post_id": "p", "history": "Hi", "human_ref_A": "one", "human_ref_B": "two", "labels": 1},
            "SHP",
            ["Hi"],
            ONE_WINS,
        ),
        (
            {
                "question": "Hi",
                "answers": [{"model": "m1", "response": "one", "score": 2}, {"model": "m2", "response": "two"}],
            },
            "list of responses",
            ["Hi"],
            {"one": 2.0},
        ),
        (
            {
                "prompt": "Hi",
                "responses": [{"model": "m1", "text": "one", "rating": 2}, {"model": "m2", "text": "two"}],
            },
            "KARMA",
            ["Hi"],
            {"one": 2.0},
        ),
    ],
)
def test_a_row_gives_its_prompt_its_responses_and_their_ratings(
    row: dict[str, Any], form: str, asked: list[str], rated: dict[str, float]
) -> None:
    recognized, found = read(row)
    assert (recognized, turns(found), ratings(found)) == (form, asked, rated)
    given = responses(found)
    assert len(given) >= 2
    if row is not ULTRAFEEDBACK:
        assert sorted(given.values()) == ["one", "two"]
    if "m1" in json.dumps(row) and "m2" in json.dumps(row):
        assert given["m1"] in ("one", "Rhine")


def test_what_is_not_understood_travels_along() -> None:
    _form, found = read(ULTRAFEEDBACK)
    metadata = json.loads(found.metadata or "")
    assert metadata["completions"][1]["overall_score"] == 10.0
    assert (metadata["source"], metadata["correct_answers"]) == ("made up", ["None"])
    assert json.loads(read(SAFER)[1].metadata or "")["safer_response_id"] == 0


def test_neither_name_of_unnamed_responses_is_always_that_of_the_better_one() -> None:
    better = {
        next(
            model
            for model, text in responses(read({"prompt": "Hi", "chosen": f"a{n}", "rejected": f"b{n}"})[1]).items()
            if text == f"a{n}"
        )
        for n in range(20)
    }
    assert better == {"unnamed-1", "unnamed-2"}


def test_ratings_are_no_content_so_that_the_same_prompt_is_the_same() -> None:
    one, two = (PromptReader(1000, verdicts_as=name)(Row("t", 1, {**ARENA})) for name in ("a", None))
    assert (one.prompt_id, one.content_hash) == (two.prompt_id, two.content_hash)
    assert json.loads(two.metadata or "")["karma_ratings"]["by"] is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"chosen": chat("Hi", "one"), "rejected": chat("Ho", "two")}, "differ before their last turn"),
        ({"chosen": chat("Hi"), "rejected": chat("Hi", "two")}, "`chosen` must end with a turn of the assistant"),
        ({"chosen": "one", "rejected": "two"}, "are texts, and no column has their prompt"),
        ({"chosen": 1, "rejected": 2, "prompt": "Hi"}, "`chosen` must be a list"),
        (
            {**ARENA, "prompt": '["Hi", "Ho"]', "response_a": '["a", "b"]', "response_b": '["c", "d"]'},
            "chats of 2 turns of their own",
        ),
        ({**ARENA, "response_a": "[null]"}, "`response_a` holds a turn without a text (null)"),
        ({**ARENA, "response_a": "[oops"}, "`response_a` is no list in JSON"),
        ({"instruction": "Hi", "generations": ["one"], "ratings": [1, 2]}, "1 `generations`, 1 models and 2 `ratings`"),
        ({**ULTRAFEEDBACK, "completions": ["x"]}, "`completions[0]` must be an object"),
        (
            {"post_id": "p", "history": "Hi", "human_ref_A": "a", "human_ref_B": "b", "labels": 2},
            "`labels` must be 0 or 1",
        ),
        (
            {"prompt": "p", "responses": [{"model": "a", "text": "t", "rating": "good"}]},
            "rating of 'a' must be a number",
        ),
        ({"prompt": "p", "karma_ratings": {"by": "human", "of": []}}, "is a name of KARMA's own"),
    ],
)
def test_what_is_no_pair_of_answers_to_one_prompt_is_refused(row: dict[str, Any], said: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read(row)
    assert said in str(caught.value)


def test_answers_that_are_no_responses_of_models_are_metadata() -> None:
    reader = PromptReader(1000)
    for row in ({"prompt": "p", "answers": ["42"]}, {"prompt": "p", "answers": [{"model": "m", "text": "t"}]}):
        reader(Row("t", 1, row))
    assert [form for form, _columns in reader.prompts] == ["KARMA", "list of responses"]


@pytest.mark.parametrize(
    ("body", "url", "asked"),
    [
        (
            {"model": "m", "messages": chat("Hi", system="Be kind."), "temperature": 0},
            "/v1/chat/completions",
            ["Be kind.", "Hi"],
        ),
        ({"model": "m", "messages": chat("Hi")}, None, ["Hi"]),
        ({"model": "m", "input": "Hi", "instructions": "Be kind."}, "/v1/responses", ["Be kind.", "Hi"]),
    ],
)
def test_a_line_of_a_batch_file_keeps_its_id_and_the_rest_of_its_body(
    body: Any, url: str | None, asked: list[str]
) -> None:
    line = {"custom_id": "r-1", "body": body} | ({"method": "POST", "url": url} if url else {})
    found = PromptReader(1000)(Line("t", 1, json.dumps(line).encode()))
    assert (found.prompt_id, turns(found)) == ("r-1", asked)
    assert json.loads(found.metadata or "")["body"]["model"] == "m"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"url": "/v1/embeddings", "body": {"input": "Hi"}}, "only requests to"),
        ({"body": {"messages": chat("Hi"), "tools": [{}]}}, "`body.tools` defines tools"),
        ({"body": {"messages": chat("Hi"), "n": 2}}, "`body.n` is a number (2)"),
        ({"body": []}, "`body` must be an object"),
        ({"custom_id": 7, "body": {"messages": chat("Hi")}}, "`custom_id` must be a string"),
    ],
)
def test_a_request_that_is_no_prompt_is_refused(line: dict[str, Any], said: str) -> None:
    with pytest.raises(RefusedError) as caught:
        PromptReader(1000)(Row("t", 1, {"custom_id": "x", **line}))
    assert said in str(caught.value)
