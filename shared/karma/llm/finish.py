"""Whether a generated text is an answer: it ended by itself, it is not empty, and it is without the reasoning."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

from karma.llm.reasoning import begins_as_reasoning, split_reasoning
from karma.messages import FINISH_PREFIXES, UNFINISHED, ModelSpec
from karma.messages.results import storable

Finish = Literal["length", "content_filter", "error", "stop"]


class Finished(NamedTuple):
    """The answer in a generated text, or why it is none: the kind is that of `ChatResult`."""

    text: str | None = None
    reasoning: str | None = None
    failure: str | None = None
    kind: str | None = None


@lru_cache(maxsize=256)
def finish_of(finish_reason: str | None) -> Finish:
    """How a generation ended: at a limit of tokens, by a filter, by an error of the endpoint, or by itself."""
    name = (finish_reason or "").partition(":")[0]  # `content_filter: RECITATION`
    name = name.strip().lower().replace("-", "_").replace(" ", "_")
    for prefix in FINISH_PREFIXES:
        name = name.removeprefix(prefix)
    return UNFINISHED.get(name, "stop")


def finished(
    spec: ModelSpec,
    text: str,
    finish_reason: str | None,
    reasoning: str | None = None,
    limit: str | None = None,
    allow_length: bool = False,
    separated: bool = False,
) -> Finished:
    """Separate the reasoning, and hold the answer against the policies of its model.

    Args:
        spec: its `on_length`, `on_content_filter` and `reasoning` decide.
        text: as generated.
        finish_reason: as the endpoint said.
        reasoning: what the endpoint itself separated.
        limit: the limit of tokens that applied, in words; None: `max_tokens` of the model.
        allow_length: a text that is cut is an answer, as the caller set the limit.
        separated: the text is without its reasoning already; a tag in it belongs to the answer.
    """
    answer, thought, is_open = (text, None, False) if separated else split_reasoning(text)
    if reasoning and reasoning.strip() and (is_open or not begins_as_reasoning(text)):
        answer, thought, is_open = text, None, False  # the endpoint separated it: a tag belongs to the answer
    thought = "\n\n".join(filter(None, (reasoning and reasoning.strip(), thought))) or None
    kept = None if thought is None else storable(thought)
    end = finish_of(finish_reason)
    fault = _fault(spec, end, answer, is_open or (thought is not None and not answer.strip()), allow_length)
    if fault is not None:
        kind, before, after = fault
        said = f"finish_reason {finish_reason}" if finish_reason else "no finish_reason was given"
        said += f" at {limit or _limit(spec)}" if end == "length" else ""
        return Finished(failure=f"{before}: {said}{after}", kind=kind, reasoning=kept)
    if spec.reasoning == "keep" and thought is not None:
        return Finished(storable(text if reasoning is None else f"<think>\n{thought}\n</think>\n\n{answer}"))
    return Finished(storable(answer), kept)


def _limit(spec: ModelSpec) -> str:
    """The model's limit of tokens, in words."""
    return f"max_tokens {'(the default of the endpoint)' if spec.max_tokens == 'default' else spec.max_tokens}"


def _fault(
    spec: ModelSpec, end: Finish, answer: str, in_reasoning: bool, allow_length: bool
) -> tuple[str, str, str] | None:
    """Why a text is no answer: the kind, and what is said before and after its end; None if it is one."""
    if end == "content_filter" and spec.on_content_filter == "fail":
        return "content_filter", "filtered answer", '. To keep what is there, set on_content_filter = "keep"'
    if end == "error":
        return "server_error", "the endpoint reports an error", ""
    if in_reasoning:
        help_ = "Raise max_tokens, or have the model reason less" if end == "length" else "No answer came after it"
        return "unfinished", "unfinished reasoning", f", and no answer yet. {help_}"
    if not answer.strip():
        help_ = "No text came"
        if end == "length":
            help_ = "All tokens may have gone into hidden reasoning: raise max_tokens"
        return "empty", "empty answer", f". {help_}"
    if end == "length" and spec.on_length == "fail" and not allow_length:
        help_ = 'Raise max_tokens, or keep such answers with on_length = "keep"'
        return "unfinished", "unfinished answer", f". {help_}"
    return None
