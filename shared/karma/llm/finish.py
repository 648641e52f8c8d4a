"""Whether a generated text is an answer: it ended by itself, it is not empty, and it is without the reasoning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from karma.llm.reasoning import begins_as_reasoning, split_reasoning
from karma.messages import UNFINISHED, ModelSpec
from karma.messages.results import storable

Finish = Literal["length", "content_filter", "error", "stop"]


@dataclass(frozen=True)
class Finished:
    """The answer in a generated text, or why it is none. `kind`: `unfinished`, `content_filter` or `empty`."""

    text: str | None = None
    reasoning: str | None = None
    failure: str | None = None
    kind: str | None = None


def finish_of(finish_reason: str | None) -> Finish:
    """How a generation ended: at a limit of tokens, by a filter, by an error of the endpoint, or by itself."""
    name = (finish_reason or "").strip().lower().replace("-", "_")
    return UNFINISHED.get(name.removeprefix("finishreason.").removeprefix("finish_reason_"), "stop")


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
    kept = {"reasoning": None if thought is None else storable(thought)}
    end = finish_of(finish_reason)
    limit = (
        limit or f"max_tokens {'(the default of the endpoint)' if spec.max_tokens == 'default' else spec.max_tokens}"
    )
    said = f"finish_reason {finish_reason}" if finish_reason else "no finish_reason was given"
    said += f" at {limit}" if end == "length" else ""
    if end == "content_filter" and spec.on_content_filter == "fail":
        help_ = 'To keep what is there, set on_content_filter = "keep"'
        return Finished(failure=f"filtered answer: {said}. {help_}", kind="content_filter", **kept)
    if is_open or (thought is not None and not answer.strip()):
        help_ = "Raise max_tokens, or have the model reason less" if end == "length" else "No answer came after it"
        return Finished(failure=f"unfinished reasoning: {said}, and no answer yet. {help_}", kind="unfinished", **kept)
    if not answer.strip():
        help_ = (
            "All tokens may have gone into hidden reasoning: raise max_tokens" if end == "length" else "No text came"
        )
        return Finished(failure=f"empty answer: {said}. {help_}", kind="empty", **kept)
    if end == "length" and spec.on_length == "fail" and not allow_length:
        help_ = 'Raise max_tokens, or keep such answers with on_length = "keep"'
        return Finished(failure=f"unfinished answer: {said}. {help_}", kind="unfinished", **kept)
    if spec.reasoning == "keep" and thought is not None:
        return Finished(storable(text if reasoning is None else f"<think>\n{thought}\n</think>\n\n{answer}"))
    return Finished(storable(answer), **kept)
