"""`transformers`: a checkpoint in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from karma.messages import Answer, GenerateItem, ModelSpec
from karma_generation.answers import answer


class TransformersBackend:
    """Generates in batches of similar length."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        """The answers, one batch after another."""
        from karma.llm.transformers import LocalModel

        model = LocalModel.load(spec)
        started = time.monotonic()
        for group in model.generate([item.messages for item in items], [item.seed for item in items], spec):
            latency_s = time.monotonic() - started
            started = time.monotonic()
            yield [answer(spec, items[index], result, latency_s) for index, result in group]
