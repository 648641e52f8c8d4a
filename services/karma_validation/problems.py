"""Problems of preference files: their kinds, and how many rows of a file have each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]

#: Kind of problem → what it does to a training.
KINDS: Mapping[str, tuple[Severity, str]] = {
    "unreadable": ("error", "the row cannot be read, so loading the file fails"),
    "missing-column": ("error", "a column that the format needs is not there"),
    "null": ("error", "a value that trainers need is null; most stop there"),
    "wrong-type": ("error", "a value is not of the type that trainers read"),
    "json-text": ("error", "a text holds JSON; trainers take it for the words, or `datasets` decodes it"),
    "mixed-types": ("error", "a column has values of different types: `datasets` refuses it, or decodes its texts"),
    "late-type": ("error", "a type shows after the first 10 MiB, from which `datasets` takes the types"),
    "empty": ("error", "there is nothing to learn from an empty text"),
    "equal-sides": ("error", "both sides are the same, so the label says nothing"),
    "unknown-role": ("error", "chat templates drop or refuse such a turn"),
    "role-order": ("error", "turns stand in an order that chat templates refuse or render wrongly"),
    "same-role-twice": ("warning", "two turns of one role in a row; some chat templates refuse them"),
    "doubled-prompt": ("error", "the prompt stands in its column and in the chats, so it is trained on twice"),
    "text-beside-chats": ("error", "TRL fails on a text `prompt` beside whole chats"),
    "user-turn-in-answer": ("error", "a turn of the user is trained on as if the model had said it"),
    "no-shared-turn": ("error", "the chats share no first turn, so there is no prompt; TRL's run ends there"),
    "margin": ("error", "a margin that is no finite number makes every weight NaN, or stops the run"),
    "negative-margin": ("warning", "a negative margin says that the rejected response is better"),
    "rating": ("error", "ratings do not rank the generations"),
    "rank": ("error", "NeMo RL expects two completions of different rank"),
    "frame": ("error", "axolotl finds the response in the chat template's frame, and cuts it at the wrong spot"),
    "outer-space": ("warning", "axolotl loses a response that a chat template trims"),
    "template-arguments": ("error", "TRL fails on null arguments of the chat template, or adds null ones"),
    "tools": ("error", "`datasets` gives two tools each other's keys; write tools as JSON text"),
    "unmixed": ("error", "TRL's KTOTrainer does not mix rows, and takes neighbors for answers to other prompts"),
    "split-leak": ("error", "a prompt is on both sides of a split, so the test is on what was trained on"),
    "repeated": ("warning", "the same row was there before"),
    "contradiction": ("warning", "the same answers to the same prompt have the opposite label elsewhere"),
    "length-bias": ("warning", "one side is the longer one so often that length alone tells the label"),
    "too-long": ("warning", "trainers drop or cut the row without saying so"),
}


@dataclass(frozen=True)
class Place:
    """Where a row is: the line of a JSON Lines file, or the number of a row of Parquet, from 1."""

    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.file}:{self.row}"


@dataclass
class Problem:
    """The rows with one kind of problem."""

    kind: str
    count: int = 0
    examples: list[tuple[Place, str]] = field(default_factory=list)  # the first of them, with what was found

    @property
    def severity(self) -> Severity:
        """Whether it is an error."""
        return KINDS[self.kind][0]

    @property
    def meaning(self) -> str:
        """What it does to a training."""
        return KINDS[self.kind][1]


class Problems:
    """All problems of a data set; the first rows of each kind are kept, and all are counted."""

    def __init__(self, most_examples: int) -> None:
        self._most = most_examples
        self._by_kind: dict[str, Problem] = {}

    def add(self, place: Place, kind: str, found: str) -> None:
        """Note a problem of a row; `found` says what was read."""
        problem = self._by_kind.setdefault(kind, Problem(kind))
        problem.count += 1
        if len(problem.examples) < self._most:
            problem.examples.append((place, found))

    def __iter__(self) -> Any:
        """Errors first, then by kind."""
        return iter(sorted(self._by_kind.values(), key=lambda one: (one.severity, one.kind)))

    def count(self, severity: Severity) -> int:
        """The number of problems of that severity."""
        return sum(problem.count for problem in self._by_kind.values() if problem.severity == severity)

    def data(self) -> list[dict[str, Any]]:
        """As JSON has it."""
        return [
            {
                "kind": problem.kind,
                "severity": problem.severity,
                "count": problem.count,
                "meaning": problem.meaning,
                "rows": [{"file": place.file, "row": place.row, "found": found} for place, found in problem.examples],
            }
            for problem in self
        ]
