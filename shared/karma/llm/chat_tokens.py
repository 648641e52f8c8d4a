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


class Refusal(str):
    """Stands for the text of a chat that the model's chat template refuses: the reason."""

    __slots__ = ()


class ChatTokens:
    """Encodes chats with a checkpoint's tokenizer and chat template."""

    def __init__(self, tokenizer: Any, special: Sequence[str]) -> None:
        """`special` are the special tokens, the longest first."""
        self._tokenizer = tokenizer
        self._special = re.compile("|".join(map(re.escape, special)) or r"(?!)")

    def prompts(self, chats: Sequence[Chat], system: str | None) -> list[list[int] | str]:
        """The tokens of chats for generation; or, of one that the model's chat template refuses, the reason."""
        return self._encoded(self._rendered(chats, system))

    def continued(self, chat: Chat, texts: Sequence[str]) -> list[Split] | str:
        """Each text after a chat, split at the seam; or the reason if the model's chat template refuses the chat.

        A chat template may end with the opening of reasoning: then the text stands after an empty block of it.
        """
        return self.all_continued([chat], [texts])[0]

    def all_continued(self, chats: Sequence[Chat], texts: Sequence[Sequence[str]]) -> list[list[Split] | str]:
        """The same of many chats, each with its own texts: a tokenizer is far faster at once than one by one."""
        rendered = self._rendered(chats, None)
        if self._tokenizer.chat_template:
            rendered = [text if isinstance(text, Refusal) else text + to_the_answer(text) for text in rendered]
        pairs = list(zip(rendered, texts, strict=True))
        prompts = self._encoded(rendered)
        wholes = iter(
            self._encoded(
                [
                    prompt if isinstance(prompt, Refusal) else prompt + self._plain(text)
                    for prompt, after in pairs
                    for text in after
                ]
            )
        )
        found: list[list[Split] | str] = []
        for prompt, (_rendered, after) in zip(prompts, pairs, strict=True):
            whole = [next(wholes) for _text in after]
            if isinstance(prompt, str):
                found.append(prompt)
            else:
                found.append([split_at_seam(prompt, tokens) for tokens in whole if not isinstance(tokens, str)])
        return found

    def finished(self, chats: Sequence[Chat], responses: Sequence[str]) -> list[list[int] | str]:
        """The tokens of each chat with its response as the last turn; or the reason if the chat template refuses it.

        A tokenizer without a chat template that separates two texts, as those of encoders do, gets chat and response as
        two texts; another one gets the response after the chat.
        """
        if self._tokenizer.chat_template:
            whole = [(*chat, Turn("assistant", response)) for chat, response in zip(chats, responses, strict=True)]
            return self._encoded(self._rendered(whole, None, opens_answer=False))
        prompts, answers = self._rendered(chats, None), [self._plain(response) for response in responses]
        if self._tokenizer.sep_token is None:
            return self._encoded([prompt + answer for prompt, answer in zip(prompts, answers, strict=True)])
        prompts = [prompt.rstrip() for prompt in prompts]
        return list(self._tokenizer(prompts, answers)["input_ids"]) if prompts else []

    def _rendered(self, chats: Sequence[Chat], system: str | None, opens_answer: bool = True) -> list[str]:
        """Chats as texts; or the chat template's refusals. A chat that comes again is rendered once.

        `opens_answer`: an answer shall be generated, so the template opens its turn.
        """
        different = list({id(chat): chat for chat in chats}.values())
        turns = [[self._turn(turn) for turn in with_system(chat, system)] for chat in different]
        if not self._tokenizer.chat_template:
            texts = ["\n\n".join(turn["content"] for turn in chat) + "\n\n" for chat in turns]
        else:
            try:
                texts = self._applied(turns, opens_answer)
            except Exception:  # templates refuse by raising: a system turn, roles that do not alternate
                texts = [self._applied_alone(chat, opens_answer) for chat in turns]
        known = {id(chat): text for chat, text in zip(different, texts, strict=True)}
        return [known[id(chat)] for chat in chats]

    def _applied(self, chats: Sequence[Any], opens_answer: bool) -> list[str]:
        return list(self._tokenizer.apply_chat_template(chats, add_generation_prompt=opens_answer, tokenize=False))

    def _applied_alone(self, chat: Any, opens_answer: bool) -> str:
        try:
            return self._applied([chat], opens_answer)[0]
        except Exception as cause:
            return Refusal(f"the model's chat template refuses this chat: {type(cause).__name__}: {cause}"[:200])

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

    def _encoded(self, texts: Sequence[str]) -> list[list[int] | str]:
        """The tokens of each text; a refusal stays one. A text that comes again is encoded once."""
        different = list(dict.fromkeys(text for text in texts if not isinstance(text, Refusal)))
        special = not self._tokenizer.chat_template  # templates write their own
        encode = self._tokenizer
        rows = (
            encode(different, add_special_tokens=special, return_token_type_ids=False)["input_ids"] if different else []
        )
        known = dict(zip(different, rows, strict=True))
        return [str(text) if isinstance(text, Refusal) else list(known[text]) for text in texts]


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
