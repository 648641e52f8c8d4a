"""Separates the channels of gpt-oss: the last final one is the answer, the others are reasoning or calls of tools.

A text may begin within a header or a message, because the prompt ended with its beginning, and end within one.
"""

from __future__ import annotations

import re

TOKENS = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|call|>")

_TOKEN = re.compile(r"<\|(start|channel|message|constrain|end|return|call)\|>")
_HEADER = re.compile(
    r"[\s\ufeff]*(?:(?:<\|start\|>)?assistant[^<\n]{0,200})?"
    r"(?:<\|channel\|>\s*\w+|(?:analysis|commentary|final)\b)(?:[^<\n]|<\|constrain\|>){0,200}<\|message\|>"
)
_CUT_HEADER = re.compile(
    r"[\s\ufeff]*(?:<\|start\|>assistant(?: to=[\w.-]{1,80})?(?:<(?:\|[a-z]{0,7}\|?)?)?"
    r"|(?:<\|start\|>assistant(?: to=[\w.-]{1,80})?)?<\|channel\|>\s?(?:[a-z]{0,9}|(?:analysis|commentary|final)"
    r"(?: to=[\w.-]{0,80})? ?(?:<\|constrain\|>)?\w{0,20})(?:<(?:\|[a-z]{0,9}\|?)?)?)\s*"
)
_NEXT_HEADER = re.compile(r"<\|(?:end|call|return)\|>\s{0,9}<\|start\|>assistant\b[^<]{0,200}<\|channel\|>")
_HEADER_START = re.compile(
    r"<\|start\|>(?:assistant|functions|tool|user|system|developer)\b"
    r"|<\|channel\|>\s*(?:analysis|commentary|final)\b|<\|(?:start|channel)\|>\s?[a-z]{0,9}\Z"
)
_HEADER_CHARACTERS = 60
_QUOTES = ("`", "'", '"')
_ENDS = ("end", "return", "call")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
#: The headers of a text without its special tokens: `analysisWe need …assistantfinalAn answer.`
_BARE_HEADER = re.compile(r"[\s\ufeff]*(?:analysis|commentary)")
_BARE_FINAL = "assistantfinal"


def has_channels(text: str) -> bool:
    """Whether a text has channels, and is not merely about them."""
    return bool(_HEADER.match(text) or _CUT_HEADER.fullmatch(text) or _begins_within(text) or _is_bare(text))


def split_channels(text: str) -> tuple[str | None, list[str]]:
    """The last final channel of a text with channels, None if it ends before one; and the other channels."""
    if _is_bare(text):
        before, _header, answer = text.rpartition(_BARE_FINAL)
        return answer.strip(), [_BARE_HEADER.sub("", before, count=1)]
    messages = [(name, "".join(pieces)) for name, pieces in _messages(text)]
    finals = [number for number, (name, _text) in enumerate(messages) if name == "final"]
    if not finals:
        return None, [body for _name, body in messages]
    answer = messages.pop(finals[-1])[1]
    return answer.strip(), [body for _name, body in messages]


def _begins_within(text: str) -> bool:
    """Whether a text begins within a message that another one follows."""
    first = _TOKEN.search(text)
    if first is None or text[max(0, first.start() - 1) : first.start()] in _QUOTES:
        return False
    return bool(_NEXT_HEADER.match(text, first.start()))


def _is_bare(text: str) -> bool:
    return bool(_BARE_HEADER.match(text)) and _BARE_FINAL in text and not _TOKEN.search(text)


def _messages(text: str) -> list[tuple[str, list[str]]]:
    """The channels' names and texts, in pieces; what follows a channel without a header is a final one."""
    first, *rest = _TOKEN.split(text)
    messages: list[tuple[str, list[str]]] = []
    header, in_header = [first], True
    for mark, piece in zip(rest[::2], rest[1::2], strict=True):
        part = f"<|{mark}|>{piece}"
        if in_header and mark == "message":
            messages.append((_name("".join(header)), [piece]))
            in_header = False
        elif in_header and mark in _ENDS:  # the prompt ended with the header
            messages.append(("analysis", ["".join(header)]))
            in_header = False
        elif in_header:
            header.append(part)
        elif _HEADER_START.match(part[:_HEADER_CHARACTERS]):
            header, in_header = [part], True
        elif piece.strip() and mark in _ENDS and messages[-1][0] != "final":
            messages.append(("final", [piece]))
        elif piece.strip():
            messages[-1][1].append(part)
    return messages


def _name(header: str) -> str:
    """The channel in a header; an assistant's message without one is final."""
    channel = _CHANNEL.search(header)
    words = header.removeprefix("<|start|>").split()
    name = channel[1] if channel else words[0] if words else "final"
    return "final" if name == "assistant" and len(words) == 1 else name
