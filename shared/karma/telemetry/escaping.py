"""Makes text of models and users safe to show: characters that move a cursor or reverse the text are spelled out."""

from __future__ import annotations

import json
import unicodedata

#: Joiners that belong to words and emoji; all other invisible format characters are spelled out.
_KEPT = frozenset("\u200c\u200d\u00ad")
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def escape_control(text: str, lines: bool = False) -> str:
    r"""The text with control and format characters spelled out (`\x1b`, `\u202e`).

    Tabs become spaces; line breaks too, unless `lines` keeps them.
    """
    return "".join(_spelled(character, lines) for character in text.replace("\r\n", "\n"))


def escape_json(text: str) -> str:
    r"""JSON with control and format characters within its texts as `\uXXXX`, for a terminal; it means the same."""
    if text.isprintable():
        return text
    return "".join(
        json.dumps(character)[1:-1] if character not in "\t\r\n" and _is_unsafe(character) else character
        for character in text
    )


def shortened(text: str, characters: int, lines: bool = False) -> str:
    """The escaped text; of a long one the beginning, and how much is left out. 0 leaves nothing out."""
    if not characters or len(text) <= characters:
        return escape_control(text, lines)
    return f"{escape_control(text[:characters], lines)}… ({len(text) - characters:,} more characters)"


def shorten_middle(text: str, characters: int) -> str:
    """The escaped text in at most so many characters (3 or more): the middle of a long one becomes `…`."""
    escaped = escape_control(text)
    if len(escaped) <= characters:
        return escaped
    head = characters // 2
    return f"{escaped[:head]}…{escaped[head + 1 - characters :]}"


def _is_unsafe(character: str) -> bool:
    return not character.isprintable() and character not in _KEPT and unicodedata.category(character) in _UNSAFE


def _spelled(character: str, lines: bool) -> str:
    if character == "\n":
        return "\n" if lines else " "
    if character == "\t":
        return " "
    if not _is_unsafe(character):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
