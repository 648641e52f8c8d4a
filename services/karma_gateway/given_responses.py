"""Responses that come with a prompt, with their ratings."""

from __future__ import annotations

import math
from typing import Any

from karma_gateway.json_values import RefusedError, found, names, non_empty, quoted, storable, without_nulls

#: The longest name of a model, and id of a prompt.
NAME_CHARACTERS = 256


def given_responses(value: Any) -> tuple[list[tuple[str, int, str]], list[tuple[str, int, float]]]:
    """Given responses as (model, sample, text), and ratings as (model, sample, rating), higher for better ones.

    `value` is `{"model": "text"}` or `[{"model": …, "text": …, "rating": …}]`; null: none.

    Raises:
        RefusedError: names the value and what was expected.
    """
    if value is None:
        return [], []
    if isinstance(value, list):
        value = [part for part in value if part is not None]
    if isinstance(value, dict):
        parts = [(model, text, None) for model, text in value.items()]
    elif isinstance(value, list) and all(isinstance(part, dict) and {*part} >= {"model", "text"} for part in value):
        known = ("model", "text", "rating")
        more = {name for part in value for name in without_nulls(part) if name not in known}
        if more:
            raise RefusedError(
                f"a response in `responses` has only `model`, `text` and `rating`, found also {names(more)}"
            )
        parts = [(part["model"], part["text"], part.get("rating")) for part in value]
    else:
        raise RefusedError(
            "`responses` must be an object of model: text, or a list of objects with `model` and `text`, "
            f"found {found(value)}"
        )
    parts = [part for part in parts if part[1] is not None]
    if not parts:
        raise RefusedError("`responses` is empty; omit it if models of the pool should answer")
    samples: dict[str, int] = {}
    given: list[tuple[str, int, str]] = []
    ratings: list[tuple[str, int, float]] = []
    for model, text, rating in parts:
        non_empty(model, "a model's name in `responses`", NAME_CHARACTERS)
        if not isinstance(text, str):
            raise RefusedError(f"the response of {quoted(model)} must be a string, found {found(text)}")
        sample = samples.get(model, 0)
        given.append((model, sample, storable(text, "a response")))
        if rating is not None:
            ratings.append((model, sample, _rating(rating, model)))
        samples[model] = sample + 1
    return given, ratings


def _rating(value: Any, model: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RefusedError(f"the rating of {quoted(model)} must be a number, found {found(value)}")
    return float(value)
