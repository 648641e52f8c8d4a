"""Splits by prompt: every preference of a prompt is in one split, in this export and in every later one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from karma.errors import SettingsError
from karma.seeds import seed_of

#: What `datasets` takes for the name of a split.
_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*")

#: Seeds are below.
_SEEDS = 1 << 63


@dataclass(frozen=True)
class Splits:
    """Names of splits and their shares of the prompts, which add up to one."""

    shares: Mapping[str, float]

    @classmethod
    def parse(cls, text: str) -> Splits:
        """Splits as in `train=.9,test=.1`.

        Raises:
            SettingsError: a name or a share is not as expected.
        """
        shares: dict[str, float] = {}
        for part in text.split(","):
            name, _, share = (piece.strip() for piece in part.partition("="))
            if not _NAME.fullmatch(name) or name == "all" or name in shares:
                raise SettingsError(
                    f"--split {text}: {name!r} is no name of a split, or occurs twice; write, for example, "
                    "train=.9,test=.1"
                )
            try:
                shares[name] = float(share)
            except ValueError:
                shares[name] = math.nan
            if not 0.0 < shares[name] <= 1.0:
                raise SettingsError(
                    f"--split {text}: the share of {name} is {share!r}; expected a number above 0, up to 1"
                )
        return cls(shares)

    def __post_init__(self) -> None:
        """Refuse shares that leave prompts out, or take them twice."""
        total = sum(self.shares.values())
        if abs(total - 1.0) > 1e-6:
            raise SettingsError(f"the shares of the splits {', '.join(self.shares)} add up to {total:g}, expected 1")

    def of(self, prompt: int) -> str:
        """The split of a prompt (`karma.seeds.prompt_seed`)."""
        drawn, reached = seed_of("split", prompt) / _SEEDS, 0.0
        for name, share in self.shares.items():
            reached += share
            if drawn < reached:
                return name
        return list(self.shares)[-1]


WHOLE = Splits({"train": 1.0})
