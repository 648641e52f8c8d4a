"""Markup around an answer: Markdown, LaTeX, quotes, HTML tags, and tokens that end a text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from karma.llm.reasoning import split_reasoning

#: Only so many characters at the end of an answer are read, which bounds the cost of hostile texts.
MOST_CHARACTERS = 32_000

_MOST_LAYERS = 12
_MOST_END_TOKENS = 8
_END_TOKEN = re.compile(
    r"\s*(?:<[|｜][^<>\s]{1,40}>|<[^<>\s]{1,40}[|｜]>|</?s>|<(?:eos|pad|end_of_turn|end_of_utterance|end_of_text)>"
    r"|\[/INST\])\s*\Z",
    re.IGNORECASE,
)
_END_TOKEN_CHARACTERS = 60
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")

#: Opening and closing marks of LaTeX, which change no value.
_MATH = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
_MATH_COMMAND = re.compile(r"\\(?:boxed|fbox|text(?:bf|it|rm|tt)?|math(?:bf|it|rm|tt|sf)|operatorname)\s{0,3}\{")
#: Longer marks stand before their beginnings.
_PAIRS = (
    *(("```", "```"), ("``", "``"), ("`", "`"), ("***", "***"), ("**", "**"), ("*", "*")),
    *(("__", "__"), ("_", "_"), ("~~", "~~"), ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("„", "“")),
    *(("«", "»"), ("‹", "›"), ("「", "」"), ("『", "』")),
)
_TAGS = re.compile(r"<(b|strong|i|em|u|code|mark|p|span|answer)>(.*)</\1>", re.IGNORECASE)
#: A check mark, a dingbat or an emoji after an answer.
_SYMBOLS = re.compile("\\s[\u2600-\u27bf\u2b50-\u2b55\U0001f300-\U0001faff\ufe0f]{1,4}\\Z")
_PERIODS = (".", "。", "．")


def answer_part(text: str) -> tuple[str, bool]:
    """The end of a text without its reasoning and without tokens that end a text.

    Returns:
        At most `MOST_CHARACTERS` characters, and whether something before them was left out. An answer within
        unfinished reasoning is none: then the part is empty.
    """
    answer, _reasoning, _is_open = split_reasoning(text)
    answer = without_end_tokens(answer).replace("\r\n", "\n").replace("\r", "\n")
    return answer[-MOST_CHARACTERS:], len(answer) > MOST_CHARACTERS


def without_end_tokens(text: str) -> str:
    """The text without tokens such as `</s>` or `<|im_end|>` at its end, which some endpoints leave in it."""
    for _token in range(_MOST_END_TOKENS):
        text = text.rstrip()
        token = _END_TOKEN.search(text[-_END_TOKEN_CHARACTERS:])
        if token is None:
            break
        text = text[: len(text) - (len(token.string) - token.start())]
    return text


def fold(text: str) -> str:
    """The text in Unicode's composed form, without invisible characters, its runs of white space as one space."""
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split())


def forms(text: str, math_only: bool = False) -> Iterator[str]:
    """The text on one line, then with one layer of markup less at a time; a period at the end is a layer, too.

    With `math_only`, marks other than LaTeX's stay: they may be the very thing that a prompt asks for.
    """
    form = fold(text)
    for _layer in range(_MOST_LAYERS):
        yield form
        inner = _without_layer(form, math_only)
        if inner == form:
            return
        form = inner


def _without_layer(form: str, math_only: bool) -> str:
    if form.endswith(_PERIODS) and len(form) > 1:
        return form[:-1].rstrip()
    if not math_only and (symbols := _SYMBOLS.search(form)):
        return form[: symbols.start()].rstrip()
    for opening, closing in _MATH if math_only else (*_MATH, *_PAIRS):
        if len(form) > len(opening) + len(closing) and form.startswith(opening) and form.endswith(closing):
            return form[len(opening) : -len(closing)].strip()
    command = _MATH_COMMAND.match(form)
    if command is not None and form.endswith("}"):
        return form[command.end() : -1].strip()
    tags = None if math_only else _TAGS.fullmatch(form)
    return tags[2].strip() if tags else form


def boxed(text: str) -> tuple[int, str] | None:
    r"""The position and content of the last `\boxed{…}` of a text whose braces are balanced; None without one."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    opening = text.find("{", start, start + 10) if start >= 0 else -1
    depth = 0
    for place in range(opening, len(text)) if opening >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return start, text[opening + 1 : place]
    return None
