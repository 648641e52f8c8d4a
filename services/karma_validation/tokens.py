"""Rows beyond a limit of tokens. Trainers drop or cut them without saying so, and not the same ones.

TRL 1.16 with `max_length`: DPO and KTO drop a row whose prompt alone has so many tokens and cut a longer answer;
RewardTrainer drops a row of which either side is longer.
"""

from __future__ import annotations

from typing import Any

from karma.errors import MissingExtraError, SettingsError
from karma_validation.problems import Place, Problems
from karma_validation.shapes import Preference
from karma_validation.turns import Turn, words


class TokenCount:
    """Counts the rows that are too long for one tokenizer."""

    def __init__(self, name: str, max_length: int) -> None:
        """Load a tokenizer.

        Args:
            name: a folder, or a name on the hub.
            max_length: the trainer's limit, tokens.

        Raises:
            SettingsError: there is no such tokenizer.
            MissingExtraError: its package is not installed.
        """
        try:
            from transformers import AutoTokenizer
        except ImportError as cause:
            raise MissingExtraError("transformers", "local", "Counting tokens") from cause
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        except (OSError, ValueError) as cause:
            raise SettingsError(f"--count-tokens {name}: is no tokenizer that can be loaded: {cause}") from cause
        self.name = name
        self.max_length = max_length
        self.rows = 0
        self.longest = 0
        self.dropped_by_dpo = 0  # and by KTO
        self.cut_by_dpo = 0
        self.dropped_by_reward = 0

    def add(self, place: Place, preference: Preference, problems: Problems) -> None:
        """Count the tokens of a row."""
        prompt = self._tokens(preference.prompt, generation=True)
        longest = max(self._tokens([*preference.prompt, *answer]) for answer in preference.answers)
        self.rows += 1
        self.longest = max(self.longest, longest)
        dropped, cut, by_reward = prompt >= self.max_length, longest > self.max_length, longest > self.max_length
        self.dropped_by_dpo += dropped
        self.cut_by_dpo += cut and not dropped
        self.dropped_by_reward += by_reward
        if dropped or cut:
            does = "DPO and KTO drop the row" if dropped else "DPO and KTO cut the answer, reward models drop the row"
            found = f"{self.name}: the prompt has {prompt} tokens, the whole {longest}, of {self.max_length}: {does}"
            problems.add(place, "too-long", found)

    def _tokens(self, turns: list[Turn], generation: bool = False) -> int:
        """The number of tokens of a chat, by the chat template if there is one."""
        if self._tokenizer.chat_template is None:
            return len(self._tokenizer(words(turns))["input_ids"])
        return len(
            self._tokenizer.apply_chat_template(turns, add_generation_prompt=generation, return_dict=True)["input_ids"]
        )

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "tokenizer": self.name,
            "max_length": self.max_length,
            "rows": self.rows,
            "longest": self.longest,
            "dropped_by_dpo": self.dropped_by_dpo,
            "cut_by_dpo": self.cut_by_dpo,
            "dropped_by_reward": self.dropped_by_reward,
        }
