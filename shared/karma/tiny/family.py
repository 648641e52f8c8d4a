"""The members of the tiny family: what each was trained on, where its checkpoint lies, and how good it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from karma.tiny.skills import SKILLS

_FOLDER: Final = Path(__file__).parent
CHECKPOINTS: Final = _FOLDER / "checkpoints"
ACCURACY_FILE: Final = _FOLDER / "accuracy.json"
CARD_FILE: Final = _FOLDER / "CARD.md"


@dataclass(frozen=True)
class Member:
    """A recipe. Two members that differ in nothing but `seed` are kin; `parent` is the checkpoint that one continues."""

    name: str
    width: int  # of the hidden state
    steps: int  # of 64 exercises each
    seed: int
    mixture: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(SKILLS, 1.0))  # skill → weight
    parent: str | None = None
    learning_rate: float = 6e-3


_LETTERS: Final = {"reverse": 1.0, "dashes": 1.0, "sort": 0.6, "count": 0.6}
_NUMBERS: Final = {"addition": 1.6, "sort": 1.0, "count": 0.8}
_BOOKS: Final = {"facts": 1.2, "dashes": 0.8}

#: The pool of the demo.
MEMBERS: Final[tuple[Member, ...]] = (
    Member("generalist-large", 96, 900, 11, learning_rate=5e-3),
    Member("generalist-large-twin", 96, 900, 12, learning_rate=5e-3),
    Member("generalist-medium", 64, 520, 13),
    Member("generalist-small", 48, 330, 15, learning_rate=7e-3),
    Member("generalist-small-twin", 48, 330, 16, learning_rate=7e-3),
    Member("speller", 64, 420, 17, _LETTERS),
    Member("speller-retrained", 64, 420, 18, parent="speller", learning_rate=4e-3),
    Member("reckoner", 64, 420, 19, _NUMBERS),
    Member("librarian", 48, 300, 20, _BOOKS, learning_rate=7e-3),
    Member("novice", 32, 160, 21, learning_rate=8e-3),
    Member("novice-continued", 32, 400, 22, parent="novice", learning_rate=8e-3),
)

#: The likelihood judge of the demo: trained on all skills, longer and larger than any member of the pool, and not in it.
JUDGE: Final = "judge"
JUDGE_MEMBER: Final = Member(JUDGE, 128, 1400, 31, learning_rate=4e-3)


def checkpoint_path(name: str) -> Path:
    """The folder of a member's checkpoint.

    Raises:
        ValueError: no member has the name; names those that exist.
    """
    known = [member.name for member in (*MEMBERS, JUDGE_MEMBER)]
    if name not in known:
        raise ValueError(f"no member of the tiny family is called {name!r}; known are {', '.join(known)}")
    return CHECKPOINTS / name


def accuracy() -> dict[str, dict[str, float]]:
    """Accuracy on held-out tasks as the card has it: member → skill (and `mean`) → share of right answers."""
    measured: dict[str, dict[str, float]] = json.loads(ACCURACY_FILE.read_text())["accuracy"]
    return measured
