"""The text of a new pool file, with comments for whoever reads it next."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """A model, or the model of a judge: where it is, and what it is called there."""

    model: str
    base_url: str | None = None  # None: a checkpoint's folder
    key_variable: str | None = None


@dataclass(frozen=True)
class Draft:
    """What goes into a pool file."""

    source: str  # such as `ollama`
    models: Sequence[Member]
    judge: Member
    notes: Sequence[str] = ()  # sentences about what was found, or was not
    others: Sequence[str] = ()  # further models, as comments


def pool_text(draft: Draft) -> str:
    """The whole file."""
    names = unique_names([member.model for member in draft.models])
    lines = [f"# Written by karma init {draft.source}. Every key: docs/pool.md. To see what works: karma doctor"]
    lines += [f"# {note}" for note in draft.notes]
    lines += ["", "[stream]"]
    lines += _stream(len(draft.models))
    lines += ["", "# The models that answer. With four or more, fewer judge calls are needed."]
    for name, member in zip(names, draft.models, strict=True):
        lines += [f"[models.{_key(name)}]", *_member(member)]
        if member.base_url is not None and member.key_variable:
            lines.append(
                "# price = { input = 0.15, output = 0.60 }   # USD per million tokens; without it the cost is unknown"
            )
        lines.append("")
    if draft.others:
        lines += ["# Others that were found:", *(f"#   {_one_line(other)}" for other in draft.others), ""]
    lines += ["# The judge compares two answers. Best is a larger model of another family than those that it judges."]
    local = draft.judge.base_url is None
    lines += ["[judges.judge]", f'kind = "{"transformers" if local else "openai"}"', "", "[judges.judge.model]"]
    lines += [*_member(draft.judge), ""]
    lines += [
        "# For prompts with a `reference`, a judge that checks the answer and costs nothing:",
        "# [judges.reference]",
        '# kind = "verifier"',
    ]
    return "\n".join(lines) + "\n"


def _stream(models: int) -> list[str]:
    if models == 1:
        return [
            'goal = "label"   # every pair gets a verdict',
            'policy = "self"   # pairs two answers of one model; leave it out once there are more models',
        ]
    return ['goal = "train"   # what the data is for: train, reward, rank or label (docs/pool.md#goals)']


def _member(member: Member) -> list[str]:
    if member.base_url is None:
        return ['backend = "transformers"', f"model = {_text(member.model)}"]
    lines = ['backend = "openai"', f"model = {_text(member.model)}", f"base_url = {_text(member.base_url)}"]
    if member.key_variable:
        lines.append(
            f"api_key_env = {_text(member.key_variable)}   # the name of a variable; a key never stands in a file"
        )
    return lines


def unique_names(models: Sequence[str]) -> list[str]:
    """A short name for each model: the last part of its own, with a number where two would be the same."""
    names: list[str] = []
    for model in models:
        bare = re.sub(r"[^A-Za-z0-9._-]+", "-", model.rstrip("/").rpartition("/")[2]).strip("-._")[:80] or "model"
        name, number = bare, 2
        while name in names:
            name, number = f"{bare}-{number}", number + 1
        names.append(name)
    return names


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    """A TOML string; JSON's escapes are TOML's, but for the delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _one_line(text: str) -> str:
    return _text(text)[1:-1]
