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
_END_NAMES = r"eos|eot|eod|eom|bos|pad|unk|end|end_?of_?[a-z]{1,20}"
_END_TOKEN = re.compile(
    rf"\s*(?:<[|｜][^<>\s]{{1,40}}>|<[^<>\s]{{1,40}}[|｜]>|<(?:/?s|{_END_NAMES})>|\[(?:/s|/INST|{_END_NAMES})\])\s*\Z",
    re.IGNORECASE,
)
_END_TOKEN_CHARACTERS = 60
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")

#: Opening and closing marks of LaTeX, which change no value.
_MATH = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
_MATH_COMMAND = re.compile(
    r"\\(?:boxed|fbox|text(?:bf|it|rm|tt)?|math(?:bf|it|rm|tt|sf)|bm|boldsymbol|pmb|operatorname)\s{0,3}\{"
)
_STYLE = re.compile(r"\\(?:display|text|script)style(?![a-zA-Z])\s*")
#: Longer marks stand before their beginnings.
_PAIRS = (
    *(("```", "```"), ("``", "``"), ("`", "`"), ("***", "***"), ("**", "**"), ("*", "*")),
    *(("__", "__"), ("_", "_"), ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("„", "“")),
    *(("«", "»"), ("‹", "›"), ("「", "」"), ("『", "』")),
)
#: A tag of HTML that changes no value, also without its counterpart, which may stand before a label.
_TAG = r"</?(?:b|strong|i|em|u|code|mark|p|span|div|font|center|h[1-6]|li|td|br|(?:final_)?answer)(?:\s[^<>]{0,60})?/?>"
_TAGS_BEFORE = re.compile(rf"(?:{_TAG}\s{{0,20}})*", re.IGNORECASE)
_TAG_AFTER = re.compile(rf"{_TAG}\s{{0,20}}", re.IGNORECASE)
_BOX_TOKENS = re.compile(r"\\(?:boxed|fbox)\s{0,3}\{|\\.|[{}]", re.DOTALL)
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
    if style := _STYLE.match(form):
        return form[style.end() :]
    return form if math_only else without_tags(form)


def without_tags(line: str) -> str:
    """The text without tags of HTML at its ends; they change no value."""
    before = _TAGS_BEFORE.match(line)
    start, end = before.end() if before else 0, len(line)
    while (last := line.rfind("<", start, end)) >= 0 and _TAG_AFTER.fullmatch(line, last, end):
        end = last
    return line[start:end].strip()


def boxed(text: str) -> tuple[int, str] | None:
    r"""The position and content of the last `\boxed{…}` of a text whose braces are balanced; None without one."""
    opened: list[re.Match[str]] = []
    last = None
    for token in _BOX_TOKENS.finditer(text):
        if token[0].endswith("{") and token[0] != "\\{":
            opened.append(token)
        elif token[0] == "}" and opened:
            opening = opened.pop()
            is_box = len(opening[0]) > 1 and not text[opening.end() : token.start()].isspace()
            if is_box and opening.end() < token.start() and (last is None or opening.start() > last[0].start()):
                last = opening, token.start()
    return (last[0].start(), text[last[0].end() : last[1]]) if last else None
