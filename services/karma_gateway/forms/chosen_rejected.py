"""Preferences with a chosen and a rejected side: whole chats, completions, or texts.

`ultrafeedback_binarized` and Tulu 3 have a text prompt beside whole chats, argilla's cleaned UltraFeedback names the
models, its uncleaned one has texts, Skywork has whole chats and no prompt, TRL has the prompt apart.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from karma_gateway.forms.draft import Draft, Fields, Form, drafted, list_of
from karma_gateway.forms.rated import number_of, same_turns, sides, split
from karma_gateway.json_values import RefusedError, found, non_empty

#: The two sides by their columns, with the columns of their models and of their scores.
_SIDES = (("chosen", "rejected"), ("chosen_response", "rejected_response"))
_MODELS = (("chosen-model", "rejected-model"), ("chosen_model", "rejected_model"))
_SCORES = (
    *(("score_chosen", "score_rejected"), ("chosen-rating", "rejected-rating"), ("chosen_score", "rejected_score")),
    *(("chosen_avg_rating", "rejected_avg_rating"), ("chosen_rating", "rejected_rating")),
)
_PROMPTS = ("prompt", "instruction", "question")


def _uses(columns: Collection[str]) -> tuple[str, ...] | None:
    both = next((both for both in _SIDES if all(name in columns for name in both)), None)
    if both is None or "responses" in columns:
        return None
    more = [pair for pairs in (_MODELS, _SCORES) for pair in pairs]
    return (*(name for name in _PROMPTS if name in columns), *both, *(n for pair in more for n in pair if n in columns))


def _draft(row: Fields) -> Draft:
    names = next(names for names in _SIDES if all(name in row for name in names))
    first, second = (row.pop(name) for name in names)
    models = next((pair for pair in _MODELS if any(name in row for name in pair)), _MODELS[0])
    scores = next((pair for pair in _SCORES if all(name in row for name in pair)), None)
    better: float | None = 1.0
    if scores is not None:
        ratings = [number_of(row[name]) for name in scores]
        if ratings[0] is not None and ratings[0] == ratings[1]:
            better = 0.5
    turns, texts = _texts(row, names, first, second)
    responses = sides((row.get(models[0]), row.get(models[1])), texts, better)
    return drafted(row, messages=turns, responses=responses)


def _texts(row: Fields, names: tuple[str, str], first: Any, second: Any) -> tuple[list[Any], tuple[str, str]]:
    """The turns of the prompt, and both responses."""
    prompt = next((name for name in _PROMPTS if name in row), None)
    if isinstance(first, str) and isinstance(second, str) and not first.lstrip().startswith("[{"):
        if prompt is None:
            raise RefusedError(
                f"`{names[0]}` and `{names[1]}` are texts, and no column has their prompt: --map prompt=COLUMN"
            )
        return _turns(row.pop(prompt), prompt), (first, second)
    before, chosen = split(first, names[0])
    other, rejected = split(second, names[1])
    if not same_turns(before, other):
        raise RefusedError(
            f"`{names[0]}` and `{names[1]}` differ before their last turn, so that they answer no one prompt"
        )
    row.pop("messages", None)  # of the chosen side, once more
    if not before:  # completions beside their prompt, as TRL writes them
        if prompt is None:
            raise RefusedError(f"`{names[0]}` holds only an answer, and no column has its prompt: --map prompt=COLUMN")
        return _turns(row.pop(prompt), prompt), (chosen, rejected)
    if prompt is not None and any(row[prompt] == turn.get("content") for turn in before if isinstance(turn, dict)):
        del row[prompt]  # the same text is a turn
    return before, (chosen, rejected)


def _turns(prompt: Any, name: str) -> list[Any]:
    if isinstance(prompt, list):
        return list_of(prompt, name)
    if isinstance(prompt, str):
        return [{"role": "user", "content": non_empty(prompt, f"`{name}`")}]
    raise RefusedError(f"`{name}` must be a text or a list of turns, found {found(prompt)}")


CHOSEN_REJECTED = Form("chosen and rejected", _uses, _draft)
