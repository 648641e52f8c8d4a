"""Backends: the ways to ask a model, by the name that a pool file gives under `backend`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from karma.messages import Answer, GenerateItem, ModelSpec

if TYPE_CHECKING:
    from karma.llm.completions import ChatResult
    from karma.llm.transformers import Generated


class Backend(Protocol):
    """Answers batches; answers come in groups, as soon as they are there, in any order."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        """The answers to `items`, each a text or a failure with its reason."""
        ...


def _answer(spec: ModelSpec, item: GenerateItem, result: Generated | ChatResult, latency_s: float | None) -> Answer:
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


class TransformersBackend:
    """A checkpoint in this process."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        """Answers in batches of similar length."""
        from karma.llm.transformers import LocalModel

        model = LocalModel.load(spec)
        started = time.monotonic()
        for group in model.generate([one.messages for one in items], [one.seed for one in items], spec):
            latency_s = time.monotonic() - started
            started = time.monotonic()
            yield [_answer(spec, items[place], result, latency_s) for place, result in group]


class OpenAIBackend:
    """Any OpenAI-compatible endpoint."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        """Answers as the endpoint gives them."""
        from karma.llm.completions import ChatRequest
        from karma.llm.openai import client

        requests = [ChatRequest(one.messages, one.seed) for one in items]
        for group in client().complete(spec, requests):
            yield [_answer(spec, items[place], result, result.latency_s) for place, result in group]


BACKENDS: Mapping[str, Callable[[], Backend]] = {"openai": OpenAIBackend, "transformers": TransformersBackend}
