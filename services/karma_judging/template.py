"""Judge prompts, made from templates.

Responses are untrusted text: they stand between fences that the author of a response cannot predict, as they are drawn
by a key that only the judge's workers hold; without a signing key, by one that the process makes for itself. The hash
of a template (`karma.config.judge_templates`) is part of a judge's identity, so that verdicts under different wordings
are distinct.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from itertools import count

from karma.config.judge_templates import compiled, source_of
from karma.messages import JudgeItem, JudgeSpec
from karma.messages.signing import UNSIGNED, Keyring, channel

_OWN_KEY = secrets.token_bytes(32)
_keyring = UNSIGNED


def render(spec: JudgeSpec, item: JudgeItem, brief: bool = False) -> str:
    """The judge prompt for an item; `brief` asks for the letter alone (its logits are read).

    Raises:
        SettingsError: the judge names a template that does not exist.
    """
    return compiled(source_of(spec)).render(
        messages=item.messages,
        first=item.first,
        second=item.second,
        fence=fence(spec.name, item),
        brief=brief,
        criteria=spec.criteria,
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
