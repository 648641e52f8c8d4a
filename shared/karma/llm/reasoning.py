"""Separates a model's reasoning from its answer, where both stand in one text."""

from __future__ import annotations

import re
from collections.abc import Collection

from karma.llm.channels import TOKENS, has_channels, split_channels

_NAMES = (
    *("think", "thinking", "thought", "reasoning", "reflection", "seed:think", "longcat_think", "antthinking"),
    *("scratchpad", "chain_of_thought"),
)
_ASSISTANT_TURN = "<|start|>assistant"  # of gpt-oss, which has channels
_GEMMA_CHANNEL = "<|channel>"  # a token by itself; the name of the channel follows
#: What opens and closes reasoning: of Qwen, DeepSeek and most others; Magistral; Kimi; Gemma; Command; OpenThinker.
_PAIRS = (
    *((f"<{name}>", f"</{name}>") for name in _NAMES),
    *(("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷"), (f"{_GEMMA_CHANNEL}thought", "<channel|>")),
    *(("<|START_THINKING|>", "<|END_THINKING|>"), ("<|begin_of_thought|>", "<|end_of_thought|>")),
    ("<unused94>thought", "<unused95>"),
)


def _spaced(tag: str) -> str:
    """The pattern of a tag, also with white space within its brackets."""
    return r"\s{0,3}".join(re.escape(piece) for piece in re.findall(r"[\w:]+|[^\w:]", tag))


_OPENINGS = [_spaced(opening) for opening, _closing in _PAIRS]
_ANY_OPEN = re.compile("|".join(_OPENINGS), re.IGNORECASE)
_CLOSINGS = [re.compile(_spaced(closing), re.IGNORECASE) for _opening, closing in _PAIRS]
_ANY_CLOSE = re.compile("|".join(closing.pattern for closing in _CLOSINGS), re.IGNORECASE)
#: What may stand before an opening tag: a byte order mark, and tokens that begin a text or a turn.
_BEFORE_OPEN = (
    r"(?:[\s\ufeff\u200b-\u200d\u2060]|<s>|<bos>|<[|｜](?:im_start|start_header_id|end_header_id|begin_of_text|assistant|chatbot_token"
    r"|start_of_turn_token)[|｜]>|<start_of_turn>(?:model)?|assistant(?=[\s<]))*"
)
_OPEN = re.compile(_BEFORE_OPEN + "(?:" + "|".join(f"({opening})" for opening in _OPENINGS) + ")", re.IGNORECASE)
_ANSWER = re.compile(
    r"\s*<\|(?:START_(?:RESPONSE|TEXT)|begin_of_solution)\|>"
    r"(.*?)(?:<\|(?:END_(?:RESPONSE|TEXT)|end_of_solution)\|>.*)?\Z",
    re.DOTALL,
)

#: Sentences before reasoning and before the answer, of Granite and Apriel; the first alone is part of an answer.
_SENTENCES = re.compile(
    r"\s*(?:Here(?:'s| is) my thought process|Here are my reasoning steps):"
    r"(.*?)(?:^Here(?:'s| is) my response:|\[BEGIN FINAL RESPONSE\])(.*?)(?:\[END FINAL RESPONSE\].*)?\Z",
    re.DOTALL | re.MULTILINE,
)

_LINE = "\n"
_QUOTES = ("`", "'", '"')
#: Code in a fence that was closed before another one opened, or in a line.
_CODE = re.compile(
    r"^[ \t]{0,3}```(?:(?!^[ \t]{0,3}```\w).)*?^[ \t]{0,3}```[ \t]*$|`[^`\n]{1,500}`", re.DOTALL | re.MULTILINE
)
#: A closing tag within a sentence: reasoning ends with a period or a line.
_IN_SENTENCE_BEFORE = re.compile(r"[\w,] \Z")
_IN_SENTENCE_AFTER = re.compile(r"[.,;:!?)]| [a-z]|\s*\Z")


def split_reasoning(text: str) -> tuple[str, str | None, bool]:
    """Split a text into its answer and the reasoning before it.

    Only blocks at the beginning count, and what stands before a closing tag without an opening one, as some chat
    templates end the prompt with the opening tag. Tags further on, in quotes, code or a sentence belong to the answer:
    it may be about such tags.

    Returns:
        The answer (the text itself if there is no reasoning), the reasoning without its tags (None if there is none, or
        only white space), and whether the last block is open: then the model did not finish its reasoning, and the
        answer is empty.
    """
    if has_channels(text):
        answer, others = split_channels(text)
        return answer or "", _joined(others), answer is None
    if said := _SENTENCES.match(text):
        return said[2].strip(), _joined([said[1]]), False
    begin = 0  # of the answer; the text is searched in place, as many blocks would be copied again and again
    blocks: list[str] = []
    while opening := _OPEN.match(text, begin):
        closing = _closing(text, opening)
        if closing is None:
            return "", _joined([*blocks, text[opening.end() :]]), True
        blocks.append(text[opening.end() : closing.start()])
        begin = closing.end()
    # After a block a further closing tag belongs to the answer, unless the block had a second opening tag.
    if not blocks or _ANY_OPEN.search(blocks[-1]):
        closing = _lone_closing(text, begin)
        if closing is not None and not _ANY_OPEN.search(text, begin, closing.start()):
            blocks.append(text[begin : closing.start()])
            begin = closing.end()
    if marked := _ANSWER.match(text, begin):
        return marked[1].strip(), _joined(blocks), False
    return (text[begin:].lstrip() if blocks else text), _joined(blocks), False


def begins_as_reasoning(text: str) -> bool:
    """Whether a text begins with an opening tag or a channel."""
    return bool(_OPEN.match(text)) or has_channels(text)


def ends_in_reasoning(prompt: str) -> str | None:
    """The opening tag with which a prompt ends, so that the text after it begins as reasoning; None without one."""
    opening = list(_ANY_OPEN.finditer(prompt))[-1:]
    return opening[0][0] if opening and not prompt[opening[0].end() :].strip() else None


def to_the_answer(prompt: str) -> str:
    """What leads from the end of a prompt to an answer without reasoning: of Qwen and DeepSeek an empty block."""
    if prompt.endswith(_ASSISTANT_TURN):
        return "<|channel|>final<|message|>"
    opening = ends_in_reasoning(prompt)
    if opening is None:
        return ""
    match = _OPEN.match(opening)
    closing = _PAIRS[(match.lastindex or 1) - 1 if match else 0][1]
    return f"{'' if prompt.endswith(_LINE) else _LINE}\n{closing}\n\n"


def is_reasoning_tag(token: str, beside: Collection[str] = ()) -> bool:
    """Whether a token is a tag that opens or closes reasoning, for a tokenizer with the special tokens `beside` it."""
    if token in TOKENS:
        return TOKENS[0] in beside  # others end a turn with <|end|> and have no channels
    return token == _GEMMA_CHANNEL or bool(_ANY_OPEN.fullmatch(token) or _ANY_CLOSE.fullmatch(token))


def _closing(text: str, opening: re.Match[str]) -> re.Match[str] | None:
    """The first closing tag of a block that does not stand in quotes, or else the first one."""
    pattern = _CLOSINGS[(opening.lastindex or 1) - 1]
    closings = pattern.finditer(text, opening.end())
    return next((each for each in closings if not _is_quoted(text, each)), pattern.search(text, opening.end()))


def _lone_closing(text: str, begin: int) -> re.Match[str] | None:
    """The first closing tag from there on that does not stand in quotes, code or a sentence."""
    code = _CODE.finditer(text, begin)
    span = next(code, None) if _ANY_CLOSE.search(text, begin) else None
    for closing in _ANY_CLOSE.finditer(text, begin):
        while span is not None and span.end() <= closing.start():
            span = next(code, None)
        in_code = span is not None and span.start() < closing.start()
        if not in_code and not _is_quoted(text, closing) and not _is_in_sentence(text, closing):
            return closing
    return None


def _is_quoted(text: str, tag: re.Match[str]) -> bool:
    before, after = text[tag.start() - 1 : tag.start()], text[tag.end() : tag.end() + 1]
    return before in _QUOTES and after in _QUOTES


def _is_in_sentence(text: str, tag: re.Match[str]) -> bool:
    before = text[max(0, tag.start() - 2) : tag.start()]
    return bool(_IN_SENTENCE_BEFORE.search(before) and _IN_SENTENCE_AFTER.match(text, tag.end()))


def _joined(blocks: list[str]) -> str | None:
    return "\n\n".join(filter(None, (block.strip() for block in blocks))) or None
