"""`openai`: any OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma.messages import Answer, GenerateItem, ModelSpec
from karma_generation.answers import answer


class OpenAIBackend:
    """Asks the endpoint, with as many calls at once as the model's `concurrency` allows."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        """The answers, as the endpoint gives them."""
        from karma.llm.completions import ChatRequest
        from karma.llm.openai import client

        requests = [ChatRequest(item.messages, item.seed) for item in items]
        for group in client().complete(spec, requests):
            yield [answer(spec, items[index], result, result.latency_s) for index, result in group]
