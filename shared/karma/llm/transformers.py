"""A causal language model in this process: any checkpoint folder or hub name that transformers can load.

Weights are read from safetensors only, and a checkpoint's code is not run. torch is imported when a model is loaded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from karma.config.local_models import stops_of
from karma.errors import SettingsError
from karma.llm.call_metrics import observe_call
from karma.llm.chat_tokens import Chat
from karma.llm.checkpoint import load
from karma.llm.finish import finished
from karma.llm.forward import LoadedModel
from karma.llm.generation import Generated, LabelProbability, Likelihood, cut_at, sampling_of
from karma.llm.local_memory import cache_bytes, working_bytes
from karma.llm.reasoning import ends_in_reasoning
from karma.messages import ModelSpec

#: Probabilities computed at once: in 32 bits over a large vocabulary, those of a whole batch would need gigabytes.
_FLOATS_AT_ONCE = 1 << 26

_TAIL_TOKENS = 8  # of a prompt, which may end with the tag that opens the reasoning

_loading = threading.Lock()


class LocalModel(LoadedModel):
    """A loaded checkpoint. `load` loads each checkpoint once per process."""

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
        """Answer chats, shortest first, in batches that fit into memory; yields each batch as (index, result).

        A batch has at most `spec.concurrency` sequences, and `spec.batch_tokens` padded tokens or what half of the free
        memory holds. The same batch with the same seeds gives the same texts on the same machine. Temperature 0 is
        greedy. Settings that are `default` are those of the checkpoint's `generation_config`, and `max_tokens` is then
        what its context has room for. A generation ends before the first of the texts of `options.stop`.
        """
        import torch

        rows, faults = self._tokens_of(chats, spec.system, [1] * len(chats))
        if faults:
            yield [(index, Generated(failure=fault)) for index, fault in faults.items()]
        sampling, stops = sampling_of(spec), stops_of(spec)
        if stops:
            sampling |= {"stop_strings": list(stops), "tokenizer": self._tokenizer}
        most = self._default_tokens if spec.max_tokens == "default" else spec.max_tokens
        room = {index: min(most, self.context_tokens - len(row)) for index, row in rows.items()}

        def run(batch: Sequence[int]) -> list[Generated]:
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
            return results

        prompts = max((len(row) / (len(row) + room[index]) for index, row in rows.items()), default=0.0)
        needed = cache_bytes(self._config, self._item_bytes) + working_bytes(self._config, self._item_bytes) * prompts
        for batch, made in self._in_batches(rows, spec.concurrency, run, needed, spec.batch_tokens, room):
            failed = [Generated(failure=made, kind="out_of_memory")] if isinstance(made, str) else made
            yield list(zip(batch, failed, strict=True))

    def log_likelihood(
        self, chats: Sequence[Chat], responses: Sequence[str], batch: int = 32, batch_tokens: int | None = None
    ) -> list[Likelihood]:
        """The log-likelihood of each response, its end included, given its chat (teacher forcing)."""
        import torch

        rows: dict[int, list[int]] = {}
        answers: dict[int, list[int]] = {}
        results = [Likelihood() for _chat in chats]
        for index, found in enumerate(self._chats.all_continued(chats, [[response] for response in responses])):
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

        def run(indices: Sequence[int]) -> list[float]:
            tokens, mask = self._pad_left([answers[index] for index in indices])
            longest = tokens.shape[1]
            # Left padding ends every row with its answer, so the last logits contain all of them. Those after the last
            # token are not needed.
            logits = self._logits([rows[index] for index in indices], longest + 1)[:, :-1]
            step = max(1, _FLOATS_AT_ONCE // (longest * logits.shape[-1]))
            sums: list[float] = []
            for start in range(0, len(indices), step):
                some = slice(start, start + step)
                with torch.inference_mode():
                    log_p = torch.log_softmax(logits[some].float(), dim=-1)
                    chosen = log_p.gather(-1, tokens[some].unsqueeze(-1)).squeeze(-1).masked_fill(mask[some] == 0, 0.0)
                sums += chosen.sum(-1).tolist()
            return sums

        # Logits are needed of the answers' tokens only.
        share = max((len(answers[index]) / len(row) for index, row in rows.items()), default=0.0)
        needed = working_bytes(self._config, self._item_bytes) + share * self._vocabulary * self._item_bytes
        for indices, sums in self._in_batches(rows, batch, run, needed, batch_tokens):
            for place, index in enumerate(indices):
                count = len(answers[index])
                results[index] = Likelihood(failure=sums) if isinstance(sums, str) else Likelihood(sums[place], count)
        return results

    def label_probability(
        self,
        chats: Sequence[Chat],
        labels: tuple[str, str] = ("A", "B"),
        batch: int = 32,
        batch_tokens: int | None = None,
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
        for index, found in enumerate(self._chats.all_continued(chats, [labels] * len(chats))):
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

        def run(indices: Sequence[int]) -> list[list[float]]:
            logits = self._logits([rows[index] for index in indices], 1)[:, -1]
            with torch.inference_mode():
                tokens = torch.tensor([ids[index] for index in indices], device=logits.device)
                shares: list[list[float]] = torch.softmax(logits.float(), dim=-1).gather(-1, tokens).tolist()
            return shares

        needed = working_bytes(self._config, self._item_bytes)
        for indices, shares in self._in_batches(rows, batch, run, needed, batch_tokens):
            for place, index in enumerate(indices):
                if isinstance(shares, str):
                    results[index] = LabelProbability(failure=shares)
                else:
                    results[index] = LabelProbability(shares[place][0], shares[place][1])
        return results

    @property
    def _default_tokens(self) -> int:
        return self._model.generation_config.max_new_tokens or self.context_tokens

    def _generated(self, tokens: list[int], prompt: list[int], spec: ModelSpec, limit: int) -> Generated:
        ends = self._model.generation_config.eos_token_id
        ends = {*self._end, *(ends if isinstance(ends, list) else [ends])}
        if stops := stops_of(spec):  # a row is padded from its stop on, until its whole batch has ended
            ends.add(self._pad_id)
        end = next((index for index, token in enumerate(tokens) if token in ends), None)
        made = tokens[:end]
        # A stop may be a special token, which the text is without.
        is_stopped = bool(stops) and any(stop in self._tokenizer.decode(made) for stop in stops)
        text = cut_at(self._decoded(made), stops)
        if opening := ends_in_reasoning(self._tokenizer.decode(prompt[-_TAIL_TOKENS:])):
            text = f"{opening}\n{text}"  # the chat template opened it
        reason = "stop" if is_stopped or end is not None else "length"
        said = f"{limit} tokens (max_tokens {spec.max_tokens}, a context of {self.context_tokens})"
        found = finished(spec, text, reason, limit=said)
        return Generated(
            text=found.text,
            reasoning=found.reasoning,
            failure=found.failure,
            kind=found.kind,
            finish_reason=reason,
            tokens_in=len(prompt),
            tokens_out=len(made) if is_stopped or end is None else end + 1,
        )

    def _decoded(self, tokens: list[int]) -> str:
        """The text of tokens without special ones, but with tags of reasoning."""
        text = str(self._tokenizer.decode(tokens, skip_special_tokens=not self._keeps_special))
        for special in self._hidden if self._keeps_special else ():
            text = text.replace(special, "")
        return text


@cache
def _loaded(name: str, revision: str | None, dtype: str, device: str) -> LocalModel:
    return LocalModel(*load(name, revision, dtype, device))
