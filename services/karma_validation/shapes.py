"""How the columns of a format hold a preference, and what is wrong with them in one row.

Each function takes a row, notes problems, and returns the preference as far as it can be read; None where it cannot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from karma_validation.turns import Found, Turn, is_json_text, order_problems, shape_problems, shown, words

Row: TypeAlias = Mapping[str, Any]
Note: TypeAlias = Callable[[Found], None]

_SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class Preference:
    """A prompt and its answers: the better one and the worse one, or one with a label."""

    prompt: list[Turn]
    answers: tuple[list[Turn], ...]
    label: bool | None = None  # of the only answer


def explicit(row: Row, note: Note) -> Preference | None:
    """`prompt`, `chosen`, `rejected`: three chats, or three texts."""
    texts = {name: isinstance(row[name], str) and not is_json_text(row[name]) for name in ("prompt", *_SIDES)}
    if all(texts.values()):
        return _of_texts(row, "prompt", note)
    if texts["prompt"] and not any(texts[side] for side in _SIDES):
        note(("text-beside-chats", f"prompt is the text {shown(row['prompt'])}, chosen and rejected are chats"))
        _read_chats(row, _SIDES, note)
        return None
    chats = _read_chats(row, ("prompt", *_SIDES), note)
    if chats is None:
        return None
    prompt, *answers = chats
    for side, answer in zip(_SIDES, answers, strict=True):
        if answer[: len(prompt)] == prompt or (len(answer) > 1 and answer[0] in prompt):
            note(("doubled-prompt", f"{side} begins with the prompt, which stands in `prompt` too"))
            return None
    _check_prompt(prompt, "prompt", note)
    for side, answer in zip(_SIDES, answers, strict=True):
        _check_answer(answer, side, note)
    return _compared(Preference(prompt, tuple(answers)), note)


def implicit(row: Row, note: Note) -> Preference | None:
    """`chosen`, `rejected`: whole chats that share their first turns; a `prompt` beside them is too much."""
    if row.get("prompt") is not None:
        return explicit(row, note)
    if all(isinstance(row[side], str) and not is_json_text(row[side]) for side in _SIDES):
        return _of_texts(row, None, note)
    chats = _read_chats(row, _SIDES, note)
    return None if chats is None else _sharing(chats[0], chats[1], note)


def _sharing(chosen: list[Turn], rejected: list[Turn], note: Note) -> Preference | None:
    """Two whole chats; the turns that they share are the prompt."""
    if chosen == rejected:
        note(("equal-sides", f"both sides are {shown(words(chosen))}"))
        return None
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    prompt, answers = chosen[:shared], (chosen[shared:], rejected[shared:])
    if not prompt:
        note(("no-shared-turn", f"chosen begins with {shown(chosen[0])}, rejected with {shown(rejected[0])}"))
    elif not all(answers):
        note(("empty", f"{_SIDES[bool(answers[0])]} ends where the other side goes on"))
    else:
        _check_prompt(prompt, "the shared prompt", note)
        for side, answer in zip(_SIDES, answers, strict=True):
            _check_answer(answer, side, note)
        return _compared(Preference(prompt, answers), note)
    return None


def unpaired(row: Row, note: Note) -> Preference | None:
    """`prompt`, `completion`, `label`."""
    label = row["label"]
    if label is None:
        note(("null", "label is null"))
    elif not isinstance(label, bool):
        note(("wrong-type", f"label is {shown(label)}, expected true or false"))
    label = label if isinstance(label, bool) else None
    names = ("prompt", "completion")
    texts = [isinstance(row[name], str) and not is_json_text(row[name]) for name in names]
    if all(texts):
        for name in names:
            if not row[name].strip():
                note(("empty", f"{name} is empty"))
        prompt = [{"role": "user", "content": row["prompt"]}]
        return Preference(prompt, ([{"role": "assistant", "content": row["completion"]}],), label)
    if any(texts):
        note(("text-beside-chats", f"{names[texts.index(True)]} is a text, the other one of {names} is a chat"))
        return None
    chats = _read_chats(row, names, note)
    if chats is None:
        return None
    prompt, answer = chats
    if answer[: len(prompt)] == prompt:
        note(("doubled-prompt", "completion begins with the prompt, which stands in `prompt` too"))
        return None
    _check_prompt(prompt, "prompt", note)
    _check_answer(answer, "completion", note)
    return Preference(prompt, (answer,), label)


def turns(row: Row, note: Note) -> Preference | None:
    """`messages` and one turn each in `chosen` and `rejected`."""
    return _one_turn_each(row, "messages", note)


def flat(row: Row, note: Note) -> Preference | None:
    """`messages` and texts."""
    chats = _read_chats(row, ("messages",), note)
    texts = _of_texts(row, None, note)
    if chats is None or texts is None:
        return None
    _check_prompt(chats[0], "messages", note)
    return Preference(chats[0], texts.answers)


def sharegpt(row: Row, note: Note) -> Preference | None:
    """`conversations` and one turn each in `chosen` and `rejected`, all as `{from, value}`."""
    names = {"human": "user", "gpt": "assistant", "observation": "tool", "function_call": "assistant"}

    def turn(value: Any) -> Any:
        if not isinstance(value, Mapping) or not {"from", "value"} <= value.keys():
            return value
        return {"role": names.get(value["from"], value["from"]), "content": value["value"]}

    conversation = row["conversations"]
    read = {
        "conversations": [turn(one) for one in conversation] if isinstance(conversation, list) else conversation,
        **{side: turn(row[side]) for side in _SIDES},
    }
    preference = _one_turn_each(read, "conversations", note)
    if preference is not None:
        own = preference.prompt[1:] if preference.prompt[0]["role"] == "system" else preference.prompt
        for index, one in enumerate(own):
            if (one["role"] == "assistant") != bool(index % 2):
                note(("role-order", f"turn {index} of conversations is {one['role']}'s; LLaMA-Factory skips the row"))
                break
    return preference


def ranked(row: Row, note: Note) -> Preference | None:
    """`context` and `completions` of different ranks."""
    completions = row["completions"]
    if completions is None:
        note(("null", "completions is null"))
        return None
    if not isinstance(completions, list) or not all(isinstance(one, Mapping) for one in completions):
        note(("wrong-type", f"completions is {shown(completions)}, expected a list of rank and completion"))
        return None
    ranks = [one.get("rank") for one in completions]
    if len(ranks) != 2 or not all(isinstance(rank, int) for rank in ranks) or ranks[0] == ranks[1]:
        note(("rank", f"the ranks are {shown(ranks)}"))
        return None
    better, worse = sorted(completions, key=lambda one: one["rank"])
    read = {"prompt": row["context"], "chosen": better.get("completion"), "rejected": worse.get("completion")}
    return explicit(read, lambda found: note((found[0], found[1].replace("prompt", "context", 1))))


def rated(row: Row, note: Note) -> Preference | None:
    """`instruction`, `generations` and their `ratings`."""
    instruction, texts, ratings = row["instruction"], row["generations"], row["ratings"]
    if not isinstance(instruction, str):
        note(("null" if instruction is None else "wrong-type", f"instruction is {shown(instruction)}"))
        return None
    if not instruction.strip():
        note(("empty", "instruction is empty"))
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        note(("null" if texts is None else "wrong-type", f"generations is {shown(texts)}, expected a list of texts"))
        return None
    if not isinstance(ratings, list) or not all(_is_finite(rating) for rating in ratings):
        note(("rating", f"ratings is {shown(ratings)}, expected a list of finite numbers"))
        return None
    if len(ratings) != len(texts) or len(texts) < 2 or max(ratings) == min(ratings):
        note(("rating", f"the ratings {shown(ratings)} do not rank {len(texts)} generations"))
        return None
    better, worse = texts[ratings.index(max(ratings))], texts[ratings.index(min(ratings))]
    return _of_texts({"prompt": instruction, "chosen": better, "rejected": worse}, "prompt", note)


def margin(value: Any, note: Note) -> None:
    """Check a margin."""
    if not _is_finite(value):
        note(("margin", f"margin is {value!r}"))
    elif value < 0:
        note(("negative-margin", f"margin is {value!r}"))


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _of_texts(row: Row, prompt: str | None, note: Note) -> Preference | None:
    """Sides, and maybe a prompt, that are texts."""
    names = [*([prompt] if prompt else []), *_SIDES]
    for name in names:
        text = row[name]
        if not isinstance(text, str):
            note(("null" if text is None else "wrong-type", f"{name} is {shown(text)}, expected a text"))
        elif is_json_text(text):
            note(("json-text", f"{name} is the text {shown(text)}"))
        elif not text.strip():
            note(("empty", f"{name} is empty"))
    if not all(isinstance(row[name], str) for name in names):
        return None
    answers = tuple([{"role": "assistant", "content": row[side]}] for side in _SIDES)
    return _compared(Preference([{"role": "user", "content": row[prompt] if prompt else ""}], answers), note)


def _one_turn_each(row: Row, prompt: str, note: Note) -> Preference | None:
    sides = {side: row[side] for side in _SIDES}
    for side, value in sides.items():
        if value is None or is_json_text(value) or not isinstance(value, (Mapping, list)):
            kind = "null" if value is None else "json-text" if is_json_text(value) else "wrong-type"
            note((kind, f"{side} is {shown(value)}, expected one turn"))
            return None
        if isinstance(value, list):
            note(("wrong-type", f"{side} is a list of {len(value)}, expected one turn as an object"))
            return None
    chats = _read_chats(
        {prompt: row[prompt], **{side: [value] for side, value in sides.items()}}, (prompt, *_SIDES), note
    )
    if chats is None:
        return None
    _check_prompt(chats[0], prompt, note)
    for side, answer in zip(_SIDES, chats[1:], strict=True):
        _check_answer(answer, side, note)
    return _compared(Preference(chats[0], tuple(chats[1:])), note)


def _read_chats(row: Row, names: tuple[str, ...], note: Note) -> list[list[Turn]] | None:
    """The chats in some columns; None where one is none."""
    problems = [found for name in names for found in shape_problems(row[name], name)]
    for found in problems:
        note(found)
    return None if problems else [[_without_nulls(turn) for turn in row[name]] for name in names]


def _without_nulls(turn: Turn) -> Turn:
    return {name: value for name, value in turn.items() if value is not None}


def _check_prompt(prompt: list[Turn], where: str, note: Note) -> None:
    for found in order_problems(prompt, where):
        note(found)
    if prompt[-1]["role"] not in ("user", "tool"):
        note(("role-order", f"{where} ends with a turn of the {prompt[-1]['role']}, expected the user's or a tool's"))


def _check_answer(answer: list[Turn], side: str, note: Note) -> None:
    if any(turn["role"] == "user" for turn in answer):
        note(("user-turn-in-answer", f"{side} has a turn of the user"))
    elif answer[0]["role"] != "assistant":
        note(("role-order", f"{side} begins with a turn of the {answer[0]['role']}, expected the assistant's"))
    elif answer[-1]["role"] != "assistant":
        note(("role-order", f"{side} ends with a turn of the {answer[-1]['role']}, expected the assistant's"))


def _compared(preference: Preference, note: Note) -> Preference:
    first, second = preference.answers
    if first == second:
        note(("equal-sides", f"both sides are {shown(words(first))}"))
    return preference


#: Shape, as the registry of exporters names it → how it is read.
SHAPES: Mapping[str, Callable[[Row, Note], Preference | None]] = {
    "explicit": explicit,
    "implicit": implicit,
    "unpaired": unpaired,
    "turns": turns,
    "flat": flat,
    "sharegpt": sharegpt,
    "ranked": ranked,
    "rated": rated,
}
