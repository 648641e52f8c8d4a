"""A reward model in this process: a sequence classifier whose raw logit is the score of a response to its prompt.

A decoder's logit is that of the last token that is no padding, which the library finds by the padding's id; so rows
are padded on the right, as encoders need it too.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

from karma.errors import SettingsError
from karma.llm.chat_tokens import Chat
from karma.llm.checkpoint import load
from karma.llm.forward import LoadedModel
from karma.llm.generation import Score
from karma.llm.local_memory import working_bytes
from karma.messages import ModelSpec

_loading = threading.Lock()


class RewardModel(LoadedModel):
    """A loaded reward model. `load` loads each checkpoint once per process."""

    def __init__(self, model: Any, tokenizer: Any, device: Any) -> None:
        super().__init__(model, tokenizer, device)
        self._padding = threading.Lock()
        pad = self._config.pad_token_id
        # Encoders with two kinds of segments: the response is of the second.
        named = "token_type_ids" in tokenizer.model_input_names and "token_type_ids" in self._accepted
        self._border = tokenizer.sep_token_id if named and not tokenizer.chat_template else None
        self._own_pad = pad if isinstance(pad, int) and 0 <= pad < self._vocabulary else None
        if tokenizer.sep_token is not None:  # an encoder has a table of positions, whose size includes some for itself
            self.context_tokens = min(self.context_tokens, int(tokenizer.model_max_length))

    @staticmethod
    def load(spec: ModelSpec) -> RewardModel:
        """The model of a specification, loaded at the first call.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            SettingsError: the checkpoint does not exist, lacks safetensors or a trained head, or needs code of its own.
        """
        with _loading:  # two threads would load the same checkpoint twice
            return _loaded(spec.model, spec.revision, spec.dtype, spec.device)

    def label_index(self, label: str | None) -> int:
        """The index of the logit that is the score: that of a named label, or the only one.

        Raises:
            SettingsError: there are several labels and none is named, or none has this name.
        """
        names = {int(index): str(name) for index, name in self._model.config.id2label.items()}
        shown = ", ".join(list(names.values())[:8])
        if label is None:
            if len(names) != 1:
                raise SettingsError(
                    f"its model has {len(names)} labels ({shown}), and a reward model has 1 (num_labels). Name the "
                    'one whose logit is the score: options = { label = "…" }'
                )
            return next(iter(names))
        found = [index for index, name in names.items() if name == label]
        if not found:
            raise SettingsError(f"options.label is {label!r}, and the labels of its model are {shown}")
        return found[0]

    def scores(
        self,
        chats: Sequence[Chat],
        responses: Sequence[str],
        label: int = 0,
        batch: int = 32,
        batch_tokens: int | None = None,
    ) -> list[Score]:
        """The score of each response as the last turn of its chat, in batches of similar length that fit into memory.

        Args:
            chats: one for each response.
            responses: texts.
            label: index of the logit.
            batch: sequences of a forward batch, at most.
            batch_tokens: padded tokens of one, at most; None: by free memory.
        """
        rows: dict[int, list[int]] = {}
        results = [Score() for _chat in chats]
        for index, tokens in enumerate(self._chats.finished(chats, responses)):
            fault = tokens if isinstance(tokens, str) else self._fault_of(tokens)
            if isinstance(tokens, str) or fault is not None:
                results[index] = Score(failure=fault)
            else:
                rows[index] = tokens

        def run(indices: Sequence[int]) -> list[float]:
            return self._scored([rows[index] for index in indices], label)

        needed = working_bytes(self._config, self._item_bytes)
        for indices, found in self._in_batches(rows, batch, run, needed, batch_tokens):
            for place, index in enumerate(indices):
                count = len(rows[index])
                results[index] = Score(failure=found) if isinstance(found, str) else Score(found[place], count)
        return results

    def _fault_of(self, tokens: Sequence[int]) -> str | None:
        if not tokens:
            return "the response has no tokens"
        if len(tokens) > self.context_tokens:
            return f"the prompt has {len(tokens)} tokens with its response, the model takes {self.context_tokens}"
        return None

    def _scored(self, rows: Sequence[list[int]], label: int) -> list[float]:
        import torch

        # A checkpoint without a padding token is meant to be read at the last token: no row may end with the padding.
        ends = {row[-1] for row in rows}
        free = next(token for token in range(len(rows) + 1) if token not in ends)
        pad = free if self._own_pad is None else self._own_pad
        width = max(map(len, rows))
        inputs = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=self._device)
        lengths = torch.tensor([[len(row)] for row in rows])
        mask = (torch.arange(width) < lengths).long().to(self._device)
        accepted: dict[str, Any] = {"use_cache": False} if "use_cache" in self._accepted else {}
        if self._border is not None:
            ends_first = (inputs == self._border).long().cumsum(-1)
            accepted["token_type_ids"] = ((ends_first - (inputs == self._border).long() > 0) * mask).long()
        with self._padding, torch.inference_mode():
            if self._own_pad is None:
                self._model.config.pad_token_id = self._config.pad_token_id = pad
            logits = self._model(input_ids=inputs, attention_mask=mask, **accepted).logits
        found: list[float] = logits[:, label].float().tolist()
        return found


@cache
def _loaded(name: str, revision: str | None, dtype: str, device: str) -> RewardModel:
    return RewardModel(*load(name, revision, dtype, device, is_classifier=True))
