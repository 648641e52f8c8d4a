"""A causal language model in this process: any checkpoint folder or hub name that transformers can load.

Weights are read from safetensors only, and a checkpoint's code is not run. torch is imported when a model is loaded.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from karma import lease
from karma.errors import SettingsError
from karma.llm.batching import batches
from karma.llm.call_metrics import observe_call
from karma.llm.chat_tokens import Chat, ChatTokens
from karma.llm.checkpoint import load
from karma.llm.finish import finished
from karma.llm.generation import Generated, sampling_of
from karma.llm.reasoning import ends_in_reasoning, is_reasoning_tag
from karma.messages import ModelSpec

#: Probabilities computed at once: in 32 bits over a large vocabulary, those of a whole batch would need gigabytes.
_FLOATS_AT_ONCE = 1 << 26

_TAIL_TOKENS = 8  # of a prompt, which may end with the tag that opens the reasoning

_loading = threading.Lock()


@dataclass(frozen=True)
class Likelihood:
    """The log-likelihood of a response given its chat; `failure` is the reason if it could not be computed."""

    nats: float = 0.0  # sum over the response's tokens, its end included
    tokens: int = 0
    failure: str | None = None


@dataclass(frozen=True)
class LabelProbability:
    """The probability of each of two labels as the next token; `failure` is the reason if it could not be computed."""

    first: float = 0.0
    second: float = 0.0
    failure: str | None = None


class LocalModel:
    """A loaded checkpoint. `load` loads each checkpoint once per process."""

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
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.context_tokens: int = limit if isinstance(limit, int) else 1 << 30

    @staticmethod
    def load(spec: ModelSpec) -> LocalModel:
        """The model of a specification, loaded at the first call.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            SettingsError: the checkpoint does not exist, has no safetensors, or needs code of its own.
        """
        with _loading:  # two threads would load the same checkpoint twice
            return _loaded(spec.model, spec.revision, spec.dtype, spec.device)

    def generate(
        self, chats: Sequence[Chat], seeds: Sequence[int], spec: ModelSpec
    ) -> Iterator[list[tuple[int, Generated]]]:
        """Answer chats, shortest first, in batches of `spec.concurrency`; yields each batch as (index, result).

        The same batch with the same seeds gives the same texts on the same machine. Temperature 0 is greedy. Settings
        that are `default` are those of the checkpoint's `generation_config`, and `max_tokens` is then what its context
        has room for.
        """
        import torch

        rows, faults = self._tokens_of(chats, spec.system, [1] * len(chats))
        if faults:
            yield [(index, Generated(failure=fault)) for index, fault in faults.items()]
        sampling = sampling_of(spec)
        most = self._default_tokens if spec.max_tokens == "default" else spec.max_tokens
        room = {index: min(most, self.context_tokens - len(row)) for index, row in rows.items()}
        for batch in batches(rows, spec.concurrency, room):
            lease.require()
            started = time.monotonic()
            inputs, mask = self._pad_left([rows[index] for index in batch])
            if spec.seed == "own":
                torch.manual_seed(seeds[batch[0]] & 0x7FFFFFFF)
            limit = min(room[index] for index in batch)
            with torch.inference_mode():
                outputs = self._model.generate(
                    input_ids=inputs,
                    attention_mask=mask,
                    max_new_tokens=limit,
                    pad_token_id=self._pad_id,
                    **sampling,
                )
            new = outputs[:, inputs.shape[1] :].tolist()
            results = [
                self._generated(tokens, rows[index], spec, limit) for index, tokens in zip(batch, new, strict=True)
            ]
            took_s = time.monotonic() - started  # of each, as they were generated together
            for result in results:
                name = Path(spec.model).name
                observe_call("transformers", name, took_s, result.tokens_in, result.tokens_out, result.kind)
            yield list(zip(batch, results, strict=True))

    def log_likelihood(self, chats: Sequence[Chat], responses: Sequence[str], batch: int = 32) -> list[Likelihood]:
        """The log-likelihood of each response, its end included, given its chat (teacher forcing)."""
        import torch

        rows: dict[int, list[int]] = {}
        answers: dict[int, list[int]] = {}
        results = [Likelihood() for _chat in chats]
        for index, (chat, response) in enumerate(zip(chats, responses, strict=True)):
            found = self._chats.continued(chat, [response])
            if isinstance(found, str):
                results[index] = Likelihood(failure=found)
                continue
            prompt, answer = found[0]
            answer += self._end if answer[-1:] != self._end else []  # some tokenizers add it themselves
            fault = self._fault(prompt, len(answer)) if answer else "the response has no tokens"
            if fault is not None:
                results[index] = Likelihood(failure=fault)
            else:
                rows[index], answers[index] = [*prompt, *answer], answer
        for indices in batches(rows, batch):
            lease.require()
            tokens, mask = self._pad_left([answers[index] for index in indices])
            longest = tokens.shape[1]
            # Left padding ends every row with its answer, so the last logits contain all of them. Those after the last
            # token are not needed.
            logits = self._logits([rows[index] for index in indices], longest + 1)[:, :-1]
            step = max(1, _FLOATS_AT_ONCE // (longest * logits.shape[-1]))
            for start in range(0, len(indices), step):
                some = slice(start, start + step)
                with torch.inference_mode():
                    log_p = torch.log_softmax(logits[some].float(), dim=-1)
                    chosen = log_p.gather(-1, tokens[some].unsqueeze(-1)).squeeze(-1).masked_fill(mask[some] == 0, 0.0)
                for index, nats in zip(indices[some], chosen.sum(-1).tolist(), strict=True):
                    results[index] = Likelihood(nats, len(answers[index]))
        return results

    def label_probability(
        self, chats: Sequence[Chat], labels: tuple[str, str] = ("A", "B"), batch: int = 32
    ) -> list[LabelProbability]:
        """The probabilities that the next token is the first token of each label; they sum to at most 1.

        A label's token is that after its chat: it may have another id than that of the label alone.

        Raises:
            SettingsError: the labels have the same first token after every chat.
        """
        import torch

        rows: dict[int, list[int]] = {}
        ids: dict[int, list[int]] = {}
        results = [LabelProbability() for _chat in chats]
        alike = f"this model cannot tell {labels[0]!r} from {labels[1]!r} by one token"
        for index, chat in enumerate(chats):
            found = self._chats.continued(chat, labels)
            fault = found if isinstance(found, str) else self._fault(found[0][0], 0)
            if isinstance(found, str) or fault is not None:
                results[index] = LabelProbability(failure=fault)
                continue
            (prompt, first), (other, second) = found
            if prompt != other or not first or not second or first[0] == second[0]:
                results[index] = LabelProbability(failure=alike)
            else:
                rows[index], ids[index] = prompt, [first[0], second[0]]
        if not rows and any(result.failure == alike for result in results):
            raise SettingsError(alike)
        for indices in batches(rows, batch):
            lease.require()
            logits = self._logits([rows[index] for index in indices], 1)[:, -1]
            with torch.inference_mode():
                tokens = torch.tensor([ids[index] for index in indices], device=logits.device)
                probabilities = torch.softmax(logits.float(), dim=-1).gather(-1, tokens).tolist()
            for index, (p_first, p_second) in zip(indices, probabilities, strict=True):
                results[index] = LabelProbability(p_first, p_second)
        return results

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
        for index, (chat, more) in enumerate(zip(chats, room, strict=True)):
            tokens = self._chats.prompt(chat, system)
            if isinstance(tokens, str):
                faults[index] = tokens
            elif fault := self._fault(tokens, more):
                faults[index] = fault
            else:
                rows[index] = tokens
        return rows, faults

    def _pad_left(self, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        import torch

        pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True, padding_side="left")
        inputs = [torch.tensor(row) for row in rows]
        mask = pad([torch.ones_like(row) for row in inputs])
        return pad(inputs, padding_value=self._pad_id).to(self._device), mask.to(self._device)

    @property
    def _default_tokens(self) -> int:
        return self._model.generation_config.max_new_tokens or self.context_tokens

    def _generated(self, tokens: list[int], prompt: list[int], spec: ModelSpec, limit: int) -> Generated:
        ends = self._model.generation_config.eos_token_id
        ends = {*self._end, *(ends if isinstance(ends, list) else [ends])}
        end = next((index for index, token in enumerate(tokens) if token in ends), None)
        text = self._decoded(tokens[:end])
        if opening := ends_in_reasoning(self._tokenizer.decode(prompt[-_TAIL_TOKENS:])):
            text = f"{opening}\n{text}"  # the chat template opened it
        reason = "length" if end is None else "stop"
        said = f"{limit} tokens (max_tokens {spec.max_tokens}, a context of {self.context_tokens})"
        found = finished(spec, text, reason, limit=said)
        return Generated(
            text=found.text,
            reasoning=found.reasoning,
            failure=found.failure,
            kind=found.kind,
            finish_reason=reason,
            tokens_in=len(prompt),
            tokens_out=len(tokens) if end is None else end + 1,
        )

    def _decoded(self, tokens: list[int]) -> str:
        """The text of tokens without special ones, but with tags of reasoning."""
        text = str(self._tokenizer.decode(tokens, skip_special_tokens=not self._keeps_special))
        for special in self._hidden if self._keeps_special else ():
            text = text.replace(special, "")
        return text

    def _fault(self, prompt: list[int], more: int) -> str | None:
        """Why a prompt cannot be followed by `more` tokens; None if it can."""
        if not prompt:
            return "the prompt has no tokens"
        if len(prompt) + more > self.context_tokens:
            with_more = f" and {more} more" if more else ""
            return f"the prompt has {len(prompt)} tokens{with_more}, the model takes {self.context_tokens}"
        return None


@cache
def _loaded(name: str, revision: str | None, dtype: str, device: str) -> LocalModel:
    return LocalModel(*load(name, revision, dtype, device))
