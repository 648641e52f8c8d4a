"""Ingest of prompts that have their responses: what has fewer than two of them is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from karma.store import Store
from karma.store.records import NewPrompt
from karma_gateway.forms.reader import PromptReader
from karma_gateway.ingest import Receipt, Refusal, take
from karma_gateway.json_values import RefusedError
from karma_gateway.sources.items import Item


class Answers:
    """Accepts prompts with responses, in any form, and remembers whether any prompt has those of two models."""

    def __init__(self, store: Store, stream: str, max_bytes: int) -> None:
        self._store, self._stream, self._max_bytes = store, stream, max_bytes
        self.reader = PromptReader(max_bytes)
        self.receipt = Receipt()
        self.one_model = True

    def take(self, chunks: Iterable[Sequence[Item]], on_refused: Callable[[Sequence[Refusal], int], object]) -> None:
        """Accept chunks of items; `on_refused` gets the refusals of each, and the number of those before."""
        for items in chunks:
            part = take(self._store, self._stream, items, max_bytes=self._max_bytes, reader=self._read)
            refused = part.refused
            on_refused(refused, len(self.receipt.refused))
            self.receipt.accepted += part.accepted
            self.receipt.present += part.present
            self.receipt.refused += refused

    def _read(self, item: Item) -> NewPrompt:
        """The prompt of an item.

        Raises:
            RefusedError: it holds none, or has fewer than two responses.
        """
        prompt = self.reader(item)
        given = json.loads(prompt.given or "[]")
        texts = [text for _model, _sample, text in given if text.strip()]
        if len(texts) < 2:
            empty = len(given) - len(texts)
            count = "no `responses`" if not given else "one response" if texts else "no response with a text"
            also = f" and {empty} empty" if empty and texts else ""
            raise RefusedError(
                f'has {count}{also}; expected two or more, such as {{"model-a": "text", "model-b": "text"}}'
            )
        self.one_model = self.one_model and len({model for model, _sample, _text in given}) == 1
        return prompt
