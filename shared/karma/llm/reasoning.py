"""Separates a model's reasoning from its answer, where both stand in one text."""

from __future__ import annotations

import re
from collections.abc import Collection

#: Tags of the models that write their reasoning into the text: Qwen, DeepSeek and most others; Magistral; Kimi; Seed.
_NAMES = r"think|thinking|thought|reasoning|seed:think"
_OPEN = re.compile(rf"\s*(?:<({_NAMES})>|(\[THINK\])|(◁think▷))", re.IGNORECASE)
_CHANNEL_TOKENS = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|call|>")
_LONE_CLOSE = re.compile(rf"(?<![`'\"])(?:</(?:{_NAMES})>|\[/THINK\]|◁/think▷)(?![`'\"])", re.IGNORECASE)
#: The channels of gpt-oss: everything before the final one is reasoning, or a call of a tool.
_CHANNEL = re.compile(
    r"\s*(?:<\|start\|>assistant)?<\|channel\|>\s*(?P<name>\w+)(?:[^<]|<\|constrain\|>){0,200}<\|message\|>"
    r"(?P<text>.*?)(?P<end><\|end\|>|<\|call\|>|<\|return\|>|(?=<\|start\|>)|\Z)",
    re.DOTALL,
)
_ANY_OPEN = re.compile(rf"<(?:{_NAMES})>|\[THINK\]|◁think▷", re.IGNORECASE)


def split_reasoning(text: str) -> tuple[str, str | None, bool]:
    """Split a text into its answer and the reasoning before it.

    Only blocks at the beginning count, and what stands before a closing tag without an opening one, as some chat
    templates end the prompt with the opening tag. Tags further on, or in quotes, belong to the answer: it may be about
    such tags.

    Returns:
        The answer (the text itself if there is no reasoning), the reasoning without its tags (None if there is none, or
        only white space), and whether the last block is open: then the model did not finish its reasoning, and the
        answer is empty.
    """
    if _CHANNEL.match(text):
        return _split_channels(text)
    begin = 0  # of the answer; the text is searched in place, as many blocks would be copied again and again
    blocks: list[str] = []
    while opening := _OPEN.match(text, begin):
        closing = re.compile(re.escape(_closing_of(opening)), re.IGNORECASE).search(text, opening.end())
        if closing is None:
            return "", _joined([*blocks, text[opening.end() :]]), True
        blocks.append(text[opening.end() : closing.start()])
        begin = closing.end()
    # After a block a further closing tag belongs to the answer, unless the block had a second opening tag.
    if not blocks or _ANY_OPEN.search(blocks[-1]):
        closing = _LONE_CLOSE.search(text, begin)
        if closing is not None and not _ANY_OPEN.search(text, begin, closing.start()):
            blocks.append(text[begin : closing.start()])
            begin = closing.end()
    return (text[begin:].lstrip() if blocks else text), _joined(blocks), False


def begins_as_reasoning(text: str) -> bool:
    """Whether a text begins with an opening tag or a channel."""
    return bool(_OPEN.match(text) or _CHANNEL.match(text))


def _split_channels(text: str) -> tuple[str, str | None, bool]:
    """The final channel of a text of gpt-oss, and the others; open if the text ends before a final channel."""
    begin = 0
    others: list[str] = []
    while channel := _CHANNEL.match(text, begin):
        begin = channel.end()
        if channel["name"] == "final":
            return channel["text"].strip(), _joined(others), False
        others.append(channel["text"])
    rest = text[begin:].strip()
    return rest, _joined(others), not rest


def ends_in_reasoning(prompt: str) -> bool:
    """Whether a prompt ends with an opening tag, so that the text after it begins as reasoning."""
    opening = list(_ANY_OPEN.finditer(prompt))
    return bool(opening) and not prompt[opening[-1].end() :].strip()


def is_reasoning_tag(token: str, beside: Collection[str] = ()) -> bool:
    """Whether a token is a tag that opens or closes reasoning, for a tokenizer with the special tokens `beside` it."""
    if token in _CHANNEL_TOKENS:
        return _CHANNEL_TOKENS[0] in beside  # others end a turn with <|end|> and have no channels
    return bool(_ANY_OPEN.fullmatch(token) or _LONE_CLOSE.fullmatch(token))


def _closing_of(opening: re.Match[str]) -> str:
    if opening[1]:
        return f"</{opening[1]}>"
    return "[/THINK]" if opening[2] else "◁/think▷"


def _joined(blocks: list[str]) -> str | None:
    return "\n\n".join(filter(None, (block.strip() for block in blocks))) or None
