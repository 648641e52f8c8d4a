"""Converts a model's result to an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from karma.messages import Answer, GenerateItem, ModelSpec

if TYPE_CHECKING:
    from karma.llm.completions import ChatResult
    from karma.llm.generation import Generated

_COPIED = ("text", "failure", "finish_reason", "tokens_in", "tokens_out", "reasoning")


def answer(spec: ModelSpec, item: GenerateItem, result: Generated | ChatResult, latency_s: float | None) -> Answer:
    """The answer of a model to an item."""
    fields = {name: getattr(result, name) for name in _COPIED}
    # Empty: the reasoning is separated, and there was none. What looks like more of it belongs to the answer.
    fields["reasoning"] = fields["reasoning"] or ""
    return Answer(
        item=item.item,
        prompt=item.prompt,
        model=spec.name,
        sample=item.sample,
        latency_s=latency_s,
        # A model in this process refuses no setting, and has no cache that is priced apart.
        dropped=getattr(result, "dropped", ()),
        tokens_cached=getattr(result, "tokens_cached", None),
        tokens_reasoning=getattr(result, "tokens_reasoning", None),
        **fields,
    )
