"""Prompts with a list of responses: UltraFeedback, Nectar, distilabel, and any list of (model, response)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from karma_gateway.forms.draft import Draft, Fields, Form, drafted, list_of, needs, text_of
from karma_gateway.forms.rated import number_of, response
from karma_gateway.json_values import RefusedError, found, non_empty

#: Of UltraFeedback. `overall_score` is not read: before 2023-12-29 a 10 in it was often meant as a 1.
_ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
_NECTAR_TURN = re.compile(r"\n\n(Human|Assistant): ")
_TEXT_NAMES = ("response", "text", "answer", "content", "output", "completion", "generation")
_MODEL_NAMES = ("model", "model_name", "generator")

#: Names of columns that may hold a list of responses.
LISTS = ("completions", "answers", "outputs", "generations")


def _objects(value: Any, name: str) -> list[Fields]:
    values = list_of(value, name)
    for index, each in enumerate(values):
        if not isinstance(each, dict):
            raise RefusedError(f"`{name}[{index}]` must be an object, found {found(each)}")
    return [dict(each) for each in values]


def _ultrafeedback(row: Fields) -> Draft:
    prompt = non_empty(row.pop("instruction"), "`instruction`")
    given = []
    rest = _objects(row.pop("completions"), "completions")
    for completion in rest:
        text, model = completion.pop("response", None), completion.pop("model", None)
        given.append(response(model, text, _mean_rating(completion.get("annotations"))))
    row.pop("models", None)  # once more, in the same order
    return drafted(row | {"completions": rest}, prompt=prompt, responses=given)


def _mean_rating(annotations: Any) -> float | None:
    """The mean of the aspects that have a number: `N/A` occurs."""
    if not isinstance(annotations, dict):
        return None
    aspects = [annotations.get(name) for name in _ASPECTS]
    numbers = [number_of(aspect.get("Rating")) for aspect in aspects if isinstance(aspect, dict)]
    known = [number for number in numbers if number is not None]
    return sum(known) / len(known) if known else None


def _nectar(row: Fields) -> Draft:
    turns = _nectar_turns(text_of(row.pop("prompt"), "prompt"))
    answers = _objects(row.pop("answers"), "answers")
    # Rank 1 is the best, and ranks may be shared.
    given = [
        response(each.get("model"), each.get("answer"), _negative(number_of(each.get("rank")))) for each in answers
    ]
    return drafted(row, messages=turns, responses=given)


def _negative(rank: float | None) -> float | None:
    return None if rank is None else -rank


def _nectar_turns(text: str) -> list[Fields]:
    """The turns of a transcript `\\n\\nHuman: … \\n\\nAssistant: ` that ends before the answer."""
    parts = _NECTAR_TURN.split("\n\n" + text.strip() + " ")
    if len(parts) < 3 or parts[0].strip():
        return [{"role": "user", "content": text}]
    said = list(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    if said[-1] == ("Assistant", ""):
        said.pop()
    return [{"role": "user" if who == "Human" else "assistant", "content": content} for who, content in said]


def _distilabel(row: Fields) -> Draft:
    prompt = next(name for name in ("instruction", "prompt") if name in row)
    texts = list_of(row.pop("generations"), "generations")
    models = row.pop("generation_models", None)
    models = models if isinstance(models, list) else [f"generation-{place}" for place in range(1, len(texts) + 1)]
    ratings = row.get("ratings")
    ratings = [number_of(each) for each in ratings] if isinstance(ratings, list) else [None] * len(texts)
    if not len(texts) == len(models) == len(ratings):
        counts = f"{len(texts)} `generations`, {len(models)} models and {len(ratings)} `ratings`"
        raise RefusedError(f"has {counts}, which must be as many")
    given = [response(*each) for each in zip(models, texts, ratings, strict=True)]
    return drafted(row, prompt=non_empty(row.pop(prompt), f"`{prompt}`"), responses=given)


def _distilabel_uses(columns: Collection[str]) -> tuple[str, ...] | None:
    prompt = next((name for name in ("instruction", "prompt") if name in columns), None)
    if prompt is None or "generations" not in columns:
        return None
    return (prompt, "generations", *(name for name in ("generation_models", "ratings") if name in columns))


def _list_uses(row: Collection[str]) -> tuple[str, ...] | None:
    """By the values too: `answers` is also the name of many other things."""
    prompt = next((name for name in ("prompt", "messages", "instruction", "question") if name in row), None)
    if prompt is None or "responses" in row or not isinstance(row, Mapping):  # `responses` are of KARMA's own form
        return None
    answers = next((name for name in LISTS if name in row and _has_responses(row[name])), None)
    return None if answers is None else (prompt, answers)


def _has_responses(value: Any) -> bool:
    """Whether a value is a list of objects, each with a model and a text."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and _name(each, _TEXT_NAMES) and _name(each, _MODEL_NAMES) for each in value)
    )


def _name(fields: Fields, among: tuple[str, ...]) -> str | None:
    return next((name for name in among if name in fields), None)


def _list(row: Fields) -> Draft:
    used = _list_uses(row)
    assert used is not None  # noqa: S101 - that is how the form was recognized
    prompt, answers = used
    given = []
    for each in row.pop(answers):
        rating = next((number_of(each[name]) for name in ("rating", "score") if name in each), None)
        given.append(response(each[_name(each, _MODEL_NAMES)], each[_name(each, _TEXT_NAMES)], rating))
    if isinstance(row[prompt], list):
        return drafted(row, messages=row.pop(prompt), responses=given)
    return drafted(row, prompt=row.pop(prompt), responses=given)


ULTRAFEEDBACK = Form("UltraFeedback", needs("instruction", "completions"), _ultrafeedback)
NECTAR = Form("Nectar", needs("prompt", "answers", "num_responses"), _nectar)
DISTILABEL = Form("distilabel", _distilabel_uses, _distilabel)
RESPONSE_LIST = Form("list of responses", _list_uses, _list)
