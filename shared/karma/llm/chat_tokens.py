"""Chats as tokens of a local model, and texts after them.

Tokenizers join and split across the seam between a prompt and the text after it: SentencePiece's encode a letter after
a line break otherwise than alone. So the tokens of a text are those by which the whole differs from its prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from karma.llm.reasoning import to_the_answer
from karma.messages import Turn, with_system

Chat = Sequence[Turn]

#: The tokens of a prompt, and those of the text after it.
Split = tuple[list[int], list[int]]


class ChatTokens:
    """Encodes chats with a checkpoint's tokenizer and chat template."""

    def __init__(self, tokenizer: Any, special: Sequence[str]) -> None:
        """`special` are the special tokens, the longest first."""
        self._tokenizer = tokenizer
        self._special = re.compile("|".join(map(re.escape, special)) or r"(?!)")

    def prompt(self, chat: Chat, system: str | None) -> list[int] | str:
        """The tokens of a chat for generation; or the reason if the model's chat template refuses it."""
        rendered = self._rendered(chat, system)
        return rendered if isinstance(rendered, str) else self._encode(*rendered)

    def continued(self, chat: Chat, texts: Sequence[str]) -> list[Split] | str:
        """Each text after a chat, split at the seam; or the reason if the model's chat template refuses the chat.

        A chat template may end with the opening of reasoning: then the text stands after an empty block of it.
        """
        rendered = self._rendered(chat, None)
        if isinstance(rendered, str):
            return rendered
        prompt, special = rendered
        if not special:
            prompt += to_the_answer(prompt)
        tokens = self._encode(prompt, special)
        return [split_at_seam(tokens, self._encode(prompt + self._plain(text), special)) for text in texts]

    def _rendered(self, chat: Chat, system: str | None) -> tuple[str, bool] | str:
        """A chat as text for generation, and whether special tokens are to be added; or the chat template's refusal."""
        turns = [self._turn(turn) for turn in with_system(chat, system)]
        if not self._tokenizer.chat_template:
            return "\n\n".join(turn["content"] for turn in turns) + "\n\n", True
        try:
            return str(self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)), False
        except Exception as cause:  # templates refuse by raising: a system turn, roles that do not alternate
            return f"the model's chat template refuses this chat: {type(cause).__name__}: {cause}"[:200]

    def _turn(self, turn: Turn) -> Any:
        """A turn as chat templates read it: the arguments of a tool call are an object there."""
        fields = msgspec.to_builtins(turn)
        for call in fields.get("tool_calls", ()):
            with suppress(msgspec.DecodeError):
                call["function"]["arguments"] = msgspec.json.decode(call["function"]["arguments"])
        return self._plain(fields)

    def _plain(self, value: Any) -> Any:
        """The value without special tokens in its texts, which could close a turn and open another."""
        if isinstance(value, str):
            return self._special.sub(lambda match: f"{match[0][:1]} {match[0][1:]}", value)
        if isinstance(value, Mapping):
            return {self._plain(name): self._plain(part) for name, part in value.items()}
        return [self._plain(part) for part in value] if isinstance(value, (list, tuple)) else value

    def _encode(self, text: str, special: bool) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=special, return_token_type_ids=False)["input_ids"])


def split_at_seam(prompt: Sequence[int], whole: Sequence[int]) -> Split:
    """Split the tokens of a prompt with a text after it.

    Args:
        prompt: the tokens of the prompt alone.
        whole: the tokens of the prompt and the text, encoded together.

    Returns:
        The tokens that both begin with, and those of `whole` after them. A token of the prompt that `whole` has joined
        with the text is among the latter.
    """
    kept = len(prompt)
    if list(whole[:kept]) != list(prompt):
        kept = next((at for at, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(whole))
    return list(whole[:kept]), list(whole[kept:])
