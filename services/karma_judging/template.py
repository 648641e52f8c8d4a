"""Judge prompts, made from templates.

Responses are untrusted text: they stand between fences that the author of a response cannot predict. The hash of a
template is part of a judge's identity, so that verdicts under different wordings are distinct.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from karma.errors import SettingsError
from karma.messages import JudgeItem
from karma.seeds import seed_of

if TYPE_CHECKING:
    from jinja2 import Template

_HASH_DIGITS = 12


def render(name: str, item: JudgeItem, brief: bool = False) -> str:
    """The judge prompt for an item; `brief` asks for the letter alone (its logits are read)."""
    return _template(name).render(
        messages=item.messages, first=item.first, second=item.second, fence=fence(item), brief=brief
    )


def fence(item: JudgeItem) -> str:
    """The delimiter of an item: drawn from its seed and texts, so that no text can contain its own delimiter."""
    return f"=={seed_of(item.seed, item.first, item.second):016x}=="


def template_hash(name: str, brief: bool = False) -> str:
    """Twelve hexadecimal digits of a template's text and form."""
    return hashlib.sha256(f"{_source(name)}\x1f{brief}".encode()).hexdigest()[:_HASH_DIGITS]


@cache
def _source(name: str) -> str:
    folder = files("karma_judging") / "templates"
    known = sorted(file.name.removesuffix(".jinja") for file in folder.iterdir() if file.name.endswith(".jinja"))
    if name not in known:
        raise SettingsError(f"no judge template is called {name!r}; known are {', '.join(known)}")
    return (folder / f"{name}.jinja").read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    # No HTML is made here: escaping would change the texts that are judged.
    environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    return environment.from_string(_source(name))
