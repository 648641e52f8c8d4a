"""Makes answers of what a model gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from karma.messages import Answer, GenerateItem, ModelSpec

if TYPE_CHECKING:
    from karma.llm.completions import ChatResult
    from karma.llm.transformers import Generated


def answer(spec: ModelSpec, item: GenerateItem, result: Generated | ChatResult, latency_s: float | None) -> Answer:
    """The answer of a model to an item."""
    return Answer(
        item=item.item,
        prompt=item.prompt,
        model=spec.name,
        sample=item.sample,
        text=result.text,
        failure=result.failure,
        finish_reason=result.finish_reason,
        tokens_in=result.tokens_in,
        tokens_out=result.tokens_out,
        latency_s=latency_s,
    )
