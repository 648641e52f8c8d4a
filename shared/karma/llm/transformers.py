"""How to ask a causal language model in this process: any checkpoint folder or hub name that transformers can load.

Weights are read from safetensors only and no code of a checkpoint is run. torch is imported when a model is loaded.
"""

from __future__ import annotations

import inspect
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from karma import lease
from karma.errors import SettingsError
from karma.llm.call_metrics import observe_call
from karma.llm.checkpoint import load
from karma.messages import ModelSpec, Turn

Chat = Sequence[Turn]

#: Probabilities computed in one go: in 32 bits over a large vocabulary, those of a whole batch would take gigabytes.
_FLOATS_AT_ONCE = 1 << 26

_one_at_a_time = threading.Lock()


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


@dataclass(frozen=True)
class LabelProbability:
    """How probable each of two labels is as the next token; `failure` says why it could not be computed."""

    first: float = 0.0
    second: float = 0.0
    failure: str | None = None


class LocalModel:
    """A loaded checkpoint. Use `load`, which loads each one once in a process."""

    def __init__(self, model: Any, tokenizer: Any, device: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._accepted = inspect.signature(model.forward).parameters
        # Many chat formats open and close turns with tokens that the tokenizer marks as special without naming them.
        added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        specials = sorted(filter(None, {*tokenizer.all_special_tokens, *added}), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, specials)) or r"(?!)")
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.context_tokens: int = limit if isinstance(limit, int) else 1 << 30

    @staticmethod
    def load(spec: ModelSpec) -> LocalModel:
        """The model of a specification, loaded at the first call.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            SettingsError: there is no such checkpoint, or it has no safetensors, or needs code of its own.
        """
        with _one_at_a_time:  # two threads would load, and hold, the same checkpoint twice
            return _loaded(spec.model, spec.dtype, spec.device)

    def generate(
        self, chats: Sequence[Chat], seeds: Sequence[int], spec: ModelSpec
    ) -> Iterator[list[tuple[int, Generated]]]:
        """Answer chats, shortest first, in batches of `spec.concurrency`; yields each batch as (place, result).

        The same batch with the same seeds gives the same texts on the same machine. Temperature 0 is greedy.
        """
        import torch

        prompts = [self._prompt(chat, spec.system) for chat in chats]
        unfit = {place: fault for place, prompt in enumerate(prompts) if (fault := self._fault(prompt, 1))}
        if unfit:
            yield [(place, Generated(failure=fault)) for place, fault in unfit.items()]
        rows = {
            place: prompt for place, prompt in enumerate(prompts) if place not in unfit and not isinstance(prompt, str)
        }
        sampling = {"do_sample": True, "temperature": spec.temperature, "top_p": spec.top_p, "top_k": 0}
        room = {place: min(spec.max_tokens, self.context_tokens - len(row)) for place, row in rows.items()}
        for places in _batches({place: len(row) for place, row in rows.items()}, spec.concurrency, room):
            lease.require()
            started = time.monotonic()
            inputs, mask = self._pad_left([rows[place] for place in places])
            torch.manual_seed(seeds[places[0]] & 0x7FFFFFFF)
            with torch.inference_mode():
                outputs = self._model.generate(
                    input_ids=inputs,
                    attention_mask=mask,
                    max_new_tokens=min(room[place] for place in places),
                    pad_token_id=self._pad_id,
                    **(sampling if spec.temperature > 0 else {"do_sample": False}),
                )
            made = outputs[:, inputs.shape[1] :].tolist()
            results = [self._generated(tokens, len(rows[place])) for place, tokens in zip(places, made, strict=True)]
            took_s = time.monotonic() - started  # of each: they were made together
            for result in results:
                kind = "empty" if result.failure else None
                observe_call("transformers", Path(spec.model).name, took_s, result.tokens_in, result.tokens_out, kind)
            yield list(zip(places, results, strict=True))

    def log_likelihood(self, chats: Sequence[Chat], responses: Sequence[str], batch: int = 32) -> list[Likelihood]:
        """The log-likelihood of each response, its end included, given its chat (teacher forcing)."""
        import torch

        prompts = [self._prompt(chat, None) for chat in chats]
        answers = [self._encode(self._plain(response)) + self._end for response in responses]
        results = [
            Likelihood(failure=self._fault(prompt, len(answer)) if answer else "the response has no tokens")
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        rows = {
            place: [*prompt, *answers[place]]
            for place, prompt in enumerate(prompts)
            if results[place].failure is None and not isinstance(prompt, str)
        }
        for places in _batches({place: len(row) for place, row in rows.items()}, batch):
            lease.require()
            wanted, mask = self._pad_left([answers[place] for place in places])
            longest = wanted.shape[1]
            # Left padding ends every row at its answer, so the last logits hold all of them; what follows the last
            # token is not needed.
            logits = self._logits([rows[place] for place in places], longest + 1)[:, :-1]
            step = max(1, _FLOATS_AT_ONCE // (longest * logits.shape[-1]))
            for start in range(0, len(places), step):
                some = slice(start, start + step)
                with torch.inference_mode():
                    said = torch.log_softmax(logits[some].float(), dim=-1)
                    chosen = said.gather(-1, wanted[some].unsqueeze(-1)).squeeze(-1).masked_fill(mask[some] == 0, 0.0)
                for place, nats in zip(places[some], chosen.sum(-1).tolist(), strict=True):
                    results[place] = Likelihood(nats, len(answers[place]))
        return results

    def label_probability(
        self, chats: Sequence[Chat], labels: tuple[str, str] = ("A", "B"), batch: int = 32
    ) -> list[LabelProbability]:
        """The probabilities that the next token is the first of each label; they sum to at most 1.

        Raises:
            SettingsError: the model's tokenizer cannot tell the labels apart by their first token.
        """
        import torch

        ids = [self._encode(label)[:1] for label in labels]
        if not all(ids) or ids[0] == ids[1]:
            raise SettingsError(f"this model cannot tell {labels[0]!r} from {labels[1]!r} by one token")
        prompts = [self._prompt(chat, None) for chat in chats]
        found = [LabelProbability(failure=self._fault(prompt, 0)) for prompt in prompts]
        rows = {
            place: prompt
            for place, prompt in enumerate(prompts)
            if found[place].failure is None and not isinstance(prompt, str)
        }
        for places in _batches({place: len(row) for place, row in rows.items()}, batch):
            lease.require()
            logits = self._logits([rows[place] for place in places], 1)[:, -1]
            with torch.inference_mode():
                probabilities = torch.softmax(logits.float(), dim=-1)[:, [ids[0][0], ids[1][0]]].tolist()
            for place, (first, second) in zip(places, probabilities, strict=True):
                found[place] = LabelProbability(first, second)
        return found

    def _logits(self, rows: Sequence[Sequence[int]], last: int) -> Any:
        """The logits at the `last` places of left-padded rows: rows × last × vocabulary, fewer in shorter rows."""
        import torch

        inputs, mask = self._pad_left(rows)
        wished = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0), "logits_to_keep": last, "use_cache": False}
        taken = {name: value for name, value in wished.items() if name in self._accepted}
        with torch.inference_mode():
            return self._model(input_ids=inputs, attention_mask=mask, **taken).logits[:, -last:]

    @property
    def _end(self) -> list[int]:
        """The token that ends a response; none where the tokenizer names none."""
        return [] if self._tokenizer.eos_token_id is None else [int(self._tokenizer.eos_token_id)]

    @property
    def _pad_id(self) -> int:
        pad = self._tokenizer.pad_token_id
        return int(pad) if pad is not None else (self._end or [0])[0]

    def _prompt(self, chat: Chat, system: str | None) -> list[int] | str:
        """The tokens of a chat, ready to be answered; or why the model's chat template refuses it."""
        turns = [{"role": turn.role, "content": self._plain(turn.content)} for turn in chat]
        if system is not None and all(turn.role != "system" for turn in chat):
            turns.insert(0, {"role": "system", "content": system})
        if not self._tokenizer.chat_template:
            return self._encode("\n\n".join(turn["content"] for turn in turns) + "\n\n", special=True)
        try:
            return list(self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))
        except Exception as cause:  # a template says no by raising: no system turn, roles that must alternate
            return f"the model's chat template refuses this chat: {type(cause).__name__}: {cause}"[:200]

    def _plain(self, text: str) -> str:
        """A text in which no token has a meaning of its own: a text that closes its turn would open another."""
        return self._special.sub(lambda found: f"{found[0][:1]} {found[0][1:]}", text)

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
        ends = {*self._end, *(ends if isinstance(ends, list) else [ends])}
        end = next((place for place, token in enumerate(tokens) if token in ends), None)
        tokens_out = len(tokens) if end is None else end + 1
        text = self._tokenizer.decode(tokens[:end], skip_special_tokens=True)
        if not text.strip():
            return Generated(failure="empty answer", tokens_in=tokens_in, tokens_out=tokens_out)
        reason = "length" if end is None else "stop"
        return Generated(text, finish_reason=reason, tokens_in=tokens_in, tokens_out=tokens_out)

    def _fault(self, prompt: list[int] | str, more: int) -> str | None:
        """Why a prompt cannot be followed by `more` tokens; None where it can."""
        if isinstance(prompt, str):
            return prompt
        if not prompt:
            return "the prompt has no tokens"
        if len(prompt) + more > self.context_tokens:
            with_more = f" and {more} more" if more else ""
            return f"the prompt has {len(prompt)} tokens{with_more}, the model takes {self.context_tokens}"
        return None


@cache
def _loaded(name: str, dtype: str, device: str) -> LocalModel:
    return LocalModel(*load(name, dtype, device))


def _batches(lengths: Mapping[int, int], size: int, room: Mapping[int, int] | None = None) -> Iterator[list[int]]:
    """Places in order of length, in groups of at most `size`: rows of a group need little padding.

    A group may make as many tokens as its longest row has room for. So a row with less than half of the room of the
    group's first opens a new group: none is cut to less than half by a longer neighbour.
    """
    group: list[int] = []
    for place in sorted(lengths, key=lambda place: (lengths[place], place)):
        if group and (len(group) == size or (room is not None and 2 * room[place] < room[group[0]])):
            yield group
            group = []
        group.append(place)
    if group:
        yield group
