"""The members of the tiny family: training recipes, checkpoint folders and accuracies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from karma_demo.tasks import SKILLS, Skill

_FOLDER: Final = Path(__file__).parent
CHECKPOINTS: Final = _FOLDER / "checkpoints"
ACCURACY_FILE: Final = _FOLDER / "accuracy.json"
CARD_FILE: Final = _FOLDER / "CARD.md"


USUAL_LEARNING_RATE: Final = 6e-3


@dataclass(frozen=True)
class Member:
    """A training recipe. Members that differ only in `seed` are kin; `parent` is the checkpoint to start from."""

    name: str
    width: int  # of the hidden state
    steps: int  # batches of 32 exercises
    seed: int
    mixture: Mapping[Skill, float] = field(default_factory=lambda: dict.fromkeys(SKILLS, 1.0))  # skill → weight
    parent: str | None = None
    learning_rate: float = USUAL_LEARNING_RATE


_LETTERS: Final[Mapping[Skill, float]] = {"reverse": 1.0, "dashes": 1.0, "sort": 0.5}
_NUMBERS: Final[Mapping[Skill, float]] = {"addition": 1.4, "sort": 0.6}
_BOOKS: Final[Mapping[Skill, float]] = {"facts": 1.0, "count": 1.0}

#: The pool of the demo.
MEMBERS: Final[tuple[Member, ...]] = (
    Member("generalist-large", 64, 1000, 11),
    Member("generalist-large-twin", 64, 1000, 12),
    Member("generalist-medium", 64, 700, 13),
    Member("generalist-small", 48, 560, 15),
    Member("generalist-small-twin", 48, 560, 16),
    Member("speller", 64, 600, 17, _LETTERS),
    Member("speller-schooled", 64, 350, 18, parent="speller"),
    Member("reckoner", 48, 420, 19, _NUMBERS),
    Member("librarian", 48, 350, 20, _BOOKS),
    Member("novice", 32, 400, 21),
    Member("novice-continued", 32, 800, 22, parent="novice"),
)

#: The likelihood judge of the demo: not in the pool, larger than its members, and trained longer, on all skills.
JUDGE: Final = "judge"
JUDGE_MEMBER: Final = Member(JUDGE, 96, 4000, 31)

#: All checkpoints: the pool and the judge.
EVERYONE: Final[tuple[Member, ...]] = (*MEMBERS, JUDGE_MEMBER)


def checkpoint_path(name: str) -> Path:
    """The folder of a member's checkpoint.

    Raises:
        ValueError: no member has this name; lists the known names.
    """
    known = [member.name for member in EVERYONE]
    if name not in known:
        raise ValueError(f"no member of the tiny family is called {name!r}; known are {', '.join(known)}")
    return CHECKPOINTS / name


def accuracy() -> dict[str, dict[str, float]]:
    """Accuracy on held-out tasks, as in the card: member → skill (and `mean`) → share of right answers."""
    measured: dict[str, dict[str, float]] = json.loads(ACCURACY_FILE.read_text())["accuracy"]
    return measured
