"""Judge prompts, made from templates.

Responses are untrusted text: they stand between fences that the author of a response cannot predict, as they are drawn
by a key that only the judge's workers hold; without a signing key, by one that the process makes for itself. The hash
of a template is part of a judge's identity, so that verdicts under different wordings are distinct.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from itertools import count
from typing import TYPE_CHECKING

from karma.errors import SettingsError
from karma.messages import JudgeItem, JudgeSpec
from karma.messages.signing import UNSIGNED, Keyring, channel

if TYPE_CHECKING:
    from jinja2 import Template

_HASH_DIGITS = 12

_OWN_KEY = secrets.token_bytes(32)
_keyring = UNSIGNED


def render(spec: JudgeSpec, item: JudgeItem, brief: bool = False) -> str:
    """The judge prompt for an item; `brief` asks for the letter alone (its logits are read)."""
    return _template(spec.template).render(
        messages=item.messages, first=item.first, second=item.second, fence=fence(spec.name, item), brief=brief
    )


def key_fences(keyring: Keyring) -> None:
    """Draw the fences of this process by the judges' keys: every worker of a judge asks in the same words."""
    global _keyring  # noqa: PLW0603 - of the process, set once at its start
    _keyring = keyring


def fence(judge: str, item: JudgeItem) -> str:
    """The delimiter of an item: 64 bits, drawn by the judge's key from its seed and texts. None of them holds it."""
    key = _keyring.subkey(channel("judge", judge), b"karma fence") or _OWN_KEY
    texts = (item.first, item.second, *(turn.content for turn in item.messages))
    for draw in count():
        drawn = f"{item.seed}\x1f{draw}\x1f{item.first}\x1f{item.second}".encode("utf-8", "surrogatepass")
        mark = f"=={blake2b(drawn, digest_size=8, key=key).hexdigest()}=="
        if not any(mark in text for text in texts):
            break
    return mark


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
