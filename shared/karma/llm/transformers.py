"""How to ask a causal language model in this process: any checkpoint folder or hub name that transformers can load.

Weights are read from safetensors only and no code of a checkpoint is run. torch is imported when a model is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from karma.errors import MissingExtraError
from karma.messages import ModelSpec, Turn

Chat = Sequence[Turn]


@dataclass(frozen=True)
class Generated:
    """What came of one chat: a text, or a failure with its reason."""

    text: str | None = None
    failure: str | None = None
    finish_reason: str | None = None  # `stop` or `length`
    tokens_in: int | None = None
    tokens_out: int | None = None


@dataclass(frozen=True)
class Likelihood:
    """How likely a response is, given its chat; `failure` says why it could not be computed."""

    nats: float = 0.0  # sum over the response's tokens, its end included
    tokens: int = 0
    failure: str | None = None


class LocalModel:
    """A loaded checkpoint. Use `load`, which loads each one once in a process."""

    def __init__(self, model: Any, tokenizer: Any, device: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        limit = getattr(model.config, "max_position_embeddings", None)
        self.context_tokens: int = limit if isinstance(limit, int) else 1 << 30

    @staticmethod
    def load(spec: ModelSpec) -> LocalModel:
        """The model of a specification, loaded at the first call.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            OSError: there is no such checkpoint, or it has no safetensors.
        """
        return _load(spec.model, spec.dtype, spec.device)

    def generate(self, chats: Sequence[Chat], seeds: Sequence[int], spec: ModelSpec) -> Iterator[list[tuple[int, Generated]]]:
        """Answer chats, shortest first, in batches of `spec.concurrency`; yields each batch as (place, result).

        The same batch with the same seeds gives the same texts on the same machine. Temperature 0 is greedy.
        """
        import torch

        prompts = [self._prompt(chat, spec.system) for chat in chats]
        for places in _batches([len(prompt) for prompt in prompts], spec.concurrency):
            fitting = [place for place in places if len(prompts[place]) + 1 <= self.context_tokens]
            results = [(place, self._too_long(prompts[place])) for place in places if place not in fitting]
            if fitting:
                inputs, mask = self._pad_left([prompts[place] for place in fitting])
                torch.manual_seed(seeds[fitting[0]] & 0x7FFFFFFF)
                sampling = {"do_sample": True, "temperature": spec.temperature, "top_p": spec.top_p, "top_k": 0}
                with torch.inference_mode():
                    outputs = self._model.generate(
                        input_ids=inputs,
                        attention_mask=mask,
                        max_new_tokens=min(spec.max_tokens, self.context_tokens - inputs.shape[1]),
                        pad_token_id=self._pad_id,
                        **(sampling if spec.temperature > 0 else {"do_sample": False}),
                    )
                for place, tokens in zip(fitting, outputs[:, inputs.shape[1] :].tolist(), strict=True):
                    results.append((place, self._generated(tokens, len(prompts[place]))))
            yield results

    def log_likelihood(self, chats: Sequence[Chat], responses: Sequence[str], batch: int = 32) -> list[Likelihood]:
        """The log-likelihood of each response, its end included, given its chat (teacher forcing)."""
        import torch

        prompts = [self._prompt(chat, None) for chat in chats]
        answers = [self._encode(response) + [self._eos_id] for response in responses]
        results = [Likelihood(failure="not computed")] * len(prompts)
        for places in _batches([len(p) + len(a) for p, a in zip(prompts, answers, strict=True)], batch):
            fitting = [p for p in places if len(prompts[p]) + len(answers[p]) <= self.context_tokens]
            for place in set(places) - set(fitting):
                results[place] = Likelihood(failure=self._too_long(prompts[place] + answers[place]).failure)
            if not fitting:
                continue
            inputs, mask = self._pad_left([prompts[place] + answers[place] for place in fitting])
            longest = max(len(answers[place]) for place in fitting)
            with torch.inference_mode():
                # Left padding ends every row at its answer, so one slice holds all of them.
                logits = self._model(
                    input_ids=inputs,
                    attention_mask=mask,
                    position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                    logits_to_keep=longest + 1,
                ).logits[:, :-1]
                targets = inputs[:, -longest:]
                chosen = torch.log_softmax(logits.float(), dim=-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
            for row, place in enumerate(fitting):
                tokens = len(answers[place])
                results[place] = Likelihood(float(chosen[row, -tokens:].sum()), tokens)
        return results

    def label_probability(
        self, chats: Sequence[Chat], labels: tuple[str, str] = ("A", "B"), batch: int = 32
    ) -> list[tuple[float, float]]:
        """The probabilities that the next token is the first of each label; they sum to at most 1."""
        import torch

        prompts = [self._prompt(chat, None) for chat in chats]
        ids = [self._encode(label)[0] for label in labels]
        found = [(0.0, 0.0)] * len(prompts)
        for places in _batches([len(prompt) for prompt in prompts], batch):
            fitting = [place for place in places if len(prompts[place]) <= self.context_tokens]
            if not fitting:
                continue
            inputs, mask = self._pad_left([prompts[place] for place in fitting])
            with torch.inference_mode():
                logits = self._model(
                    input_ids=inputs,
                    attention_mask=mask,
                    position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                    logits_to_keep=1,
                ).logits[:, -1]
                probabilities = torch.softmax(logits.float(), dim=-1)[:, ids].tolist()
            for place, (first, second) in zip(fitting, probabilities, strict=True):
                found[place] = (first, second)
        return found

    @property
    def _eos_id(self) -> int:
        return int(self._tokenizer.eos_token_id)

    @property
    def _pad_id(self) -> int:
        pad = self._tokenizer.pad_token_id
        return self._eos_id if pad is None else int(pad)

    def _prompt(self, chat: Chat, system: str | None) -> list[int]:
        turns = [{"role": turn.role, "content": turn.content} for turn in chat]
        if system is not None and all(turn.role != "system" for turn in chat):
            turns.insert(0, {"role": "system", "content": system})
        if self._tokenizer.chat_template:
            return list(self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))
        return self._encode("\n\n".join(turn["content"] for turn in turns) + "\n\n", special=True)

    def _encode(self, text: str, special: bool = False) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=special, return_token_type_ids=False)["input_ids"])

    def _pad_left(self, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        import torch

        width = max(len(row) for row in rows)
        inputs = torch.full((len(rows), width), self._pad_id)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for place, row in enumerate(rows):
            inputs[place, width - len(row) :] = torch.tensor(row)
            mask[place, width - len(row) :] = 1
        return inputs.to(self._device), mask.to(self._device)

    def _generated(self, tokens: list[int], tokens_in: int) -> Generated:
        ends = self._model.generation_config.eos_token_id
        ends = {self._eos_id, *(ends if isinstance(ends, list) else [ends])}
        end = next((place for place, token in enumerate(tokens) if token in ends), None)
        kept = tokens if end is None else tokens[:end]
        text = self._tokenizer.decode(kept, skip_special_tokens=True)
        if not text.strip():
            return Generated(failure="empty answer", tokens_in=tokens_in, tokens_out=len(kept))
        reason = "length" if end is None else "stop"
        return Generated(text, finish_reason=reason, tokens_in=tokens_in, tokens_out=len(kept) + (end is not None))

    def _too_long(self, tokens: Sequence[int]) -> Generated:
        return Generated(failure=f"the prompt has {len(tokens)} tokens, the model takes {self.context_tokens}")


@cache
def _load(name: str, dtype: str, device: str) -> LocalModel:
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as cause:
        raise MissingExtraError(str(cause.name), "local", "a model in this process") from cause
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if place.type == "cpu":
        torch.set_num_threads(int(os.environ.get("KARMA_TORCH_THREADS", "1")))
    wanted = torch.float32 if dtype == "auto" and place.type == "cpu" else dtype
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, padding_side="left")
    load: Callable[..., Any] = AutoModelForCausalLM.from_pretrained
    model = load(name, dtype=wanted, use_safetensors=True, trust_remote_code=False).to(place)
    model.eval()
    return LocalModel(model, tokenizer, place)


def _batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Places in order of length, in groups: rows of a group need little padding."""
    order = sorted(range(len(lengths)), key=lambda place: (lengths[place], place))
    for start in range(0, len(order), size):
        yield order[start : start + size]
