"""Ingest of prompts that have their responses: what has fewer than two of them is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from karma.store import Store
from karma_gateway import prompt_lines
from karma_gateway.ingest import Line, Receipt, Refusal, take
from karma_gateway.json_values import RefusedError


class Answers:
    """Accepts prompts with responses, and remembers whether any prompt has those of two models."""

    def __init__(self, store: Store, stream: str, max_bytes: int) -> None:
        self._store, self._stream, self._max_bytes = store, stream, max_bytes
        self.receipt = Receipt()
        self.one_model = True

    def take(self, chunks: Iterable[Sequence[Line]], on_refused: Callable[[Sequence[Refusal], int], object]) -> None:
        """Accept chunks of lines; `on_refused` gets the refusals of each, and the number of those before."""
        for lines in chunks:
            checked = [(line, self._fault(line)) for line in lines]
            refused = [Refusal(line.source, line.number, fault) for line, fault in checked if fault is not None]
            whole = [line for line, fault in checked if fault is None]
            part = take(self._store, self._stream, whole, max_bytes=self._max_bytes)
            refused = sorted([*refused, *part.refused], key=lambda refusal: refusal.number)
            on_refused(refused, len(self.receipt.refused))
            self.receipt.accepted += part.accepted
            self.receipt.present += part.present
            self.receipt.refused += refused

    def _fault(self, line: Line) -> str | None:
        """Why a line cannot be judged; None for one that can, or that ingest refuses for another reason."""
        try:
            given = json.loads(prompt_lines.read(line.content, self._max_bytes).given or "[]")
        except RefusedError:
            return None
        texts = [text for _model, _sample, text in given if text.strip()]
        if len(texts) < 2:
            empty = len(given) - len(texts)
            count = "no `responses`" if not given else "one response" if texts else "no response with a text"
            also = f" and {empty} empty" if empty and texts else ""
            return f'has {count}{also}; expected two or more, such as {{"model-a": "text", "model-b": "text"}}'
        self.one_model = self.one_model and len({model for model, _sample, _text in given}) == 1
        return None
