"""A loaded checkpoint: chats as padded batches of its tokens, forward passes, and batches that fit into memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from karma import lease
from karma.llm.batching import batches
from karma.llm.chat_tokens import Chat, ChatTokens
from karma.llm.local_memory import most_tokens, within_memory
from karma.llm.reasoning import is_reasoning_tag

Result = TypeVar("Result")


class LoadedModel:
    """A model with its tokenizer on its device."""

    def __init__(self, model: Any, tokenizer: Any, device: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._accepted = inspect.signature(model.forward).parameters
        # Many chat templates open and close turns with special tokens that are not among `all_special_tokens`.
        added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        specials = sorted(filter(None, {*tokenizer.all_special_tokens, *added}), key=len, reverse=True)
        self._chats = ChatTokens(tokenizer, specials)
        # Tags of reasoning that are special tokens must survive the decoding.
        self._hidden = [token for token in specials if not is_reasoning_tag(token, specials)]
        self._keeps_special = len(self._hidden) < len(specials)
        self._config = model.config.get_text_config()
        self._item_bytes = int(model.dtype.itemsize)
        self._vocabulary = int(self._config.vocab_size)
        limit = getattr(self._config, "max_position_embeddings", None)
        self.context_tokens: int = limit if isinstance(limit, int) else 1 << 30
        self._fitted: int | None = None  # padded tokens that fitted where a batch had not; None: every batch did

    def _in_batches(
        self,
        rows: Mapping[int, Sequence[int]],
        size: int,
        run: Callable[[Sequence[int]], Result],
        bytes_per_token: float,
        asked_tokens: int | None = None,
        room: Mapping[int, int] | None = None,
    ) -> Iterator[tuple[Sequence[int], Result | str]]:
        """Run rows in batches of similar length that fit into memory; yields indices with their result.

        Args:
            rows: index → tokens.
            size: rows of a batch, at most.
            run: what is done with a batch of indices.
            bytes_per_token: of memory, about.
            asked_tokens: padded tokens of a batch, at most; None: half of the free memory.
            room: index → tokens that may be generated.

        Yields:
            Indices and the result; or one index and, as a text, why it does not fit even alone.
        """
        known = (asked_tokens or most_tokens(self._device, bytes_per_token), self._fitted)
        limit = min((tokens for tokens in known if tokens is not None), default=None)
        for batch in batches(rows, size, room, limit):
            lease.require()
            fitted = []
            for some, result in within_memory(batch, run):
                fitted.append(len(some) * max(len(rows[index]) + (room[index] if room else 0) for index in some))
                yield some, result
            if len(fitted) > 1:
                self._fitted = max(fitted)
            elif self._fitted is not None:  # memory may be free again
                self._fitted += self._fitted // 8 + 1

    def _logits(self, rows: Sequence[Sequence[int]], last: int) -> Any:
        """The logits at the `last` positions of left-padded rows: rows × last × vocabulary, fewer for shorter rows."""
        import torch

        inputs, mask = self._pad_left(rows)
        options = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0), "logits_to_keep": last, "use_cache": False}
        accepted = {name: value for name, value in options.items() if name in self._accepted}
        with torch.inference_mode():
            return self._model(input_ids=inputs, attention_mask=mask, **accepted).logits[:, -last:]

    @property
    def _end(self) -> list[int]:
        """The token that ends a response; empty if the tokenizer has none."""
        return [] if self._tokenizer.eos_token_id is None else [int(self._tokenizer.eos_token_id)]

    @property
    def _pad_id(self) -> int:
        pad = self._tokenizer.pad_token_id
        return int(pad) if pad is not None else (self._end or [0])[0]

    def _tokens_of(
        self, chats: Sequence[Chat], system: str | None, room: Sequence[int]
    ) -> tuple[dict[int, list[int]], dict[int, str]]:
        """The tokens of the chats that leave `room` for further tokens, and the faults of the others, both by index."""
        rows: dict[int, list[int]] = {}
        faults: dict[int, str] = {}
        for index, (tokens, more) in enumerate(zip(self._chats.prompts(chats, system), room, strict=True)):
            if isinstance(tokens, str):
                faults[index] = tokens
            elif fault := self._fault(tokens, more):
                faults[index] = fault
            else:
                rows[index] = tokens
        return rows, faults

    def _pad_left(self, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        import torch

        width = max(map(len, rows))
        inputs = torch.tensor([[self._pad_id] * (width - len(row)) + list(row) for row in rows])
        lengths = torch.tensor([[len(row)] for row in rows])
        mask = (torch.arange(width) >= width - lengths).long()
        return inputs.to(self._device), mask.to(self._device)

    def _fault(self, prompt: list[int], more: int) -> str | None:
        """Why a prompt cannot be followed by `more` tokens; None if it can."""
        if not prompt:
            return "the prompt has no tokens"
        if len(prompt) + more > self.context_tokens:
            with_more = f" and {more} more" if more else ""
            return f"the prompt has {len(prompt)} tokens{with_more}, the model takes {self.context_tokens}"
        return None
