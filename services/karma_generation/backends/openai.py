"""`openai`: any OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from karma.messages import Answer, GenerateItem, ModelSpec
from karma_generation.answers import answer


class OpenAIBackend:
    """Calls the endpoint, with at most `concurrency` concurrent calls."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        """The answers, as they arrive."""
        from karma.batches.client import complete
        from karma.llm.completions import ChatRequest

        requests = [ChatRequest(item.messages, item.seed) for item in items]
        for group in complete(spec, requests):
            yield [answer(spec, items[index], result, result.latency_s) for index, result in group]
