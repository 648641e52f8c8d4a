"""What a history is made of: messages, commands and how often each is drawn; and the count of what was met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from karma.messages import Batch, LearnBatch, ScoreBatch
from karma.queue.claims import RELEASED
from tests.properties.ledger.records import CONTENTS, MODELS, Ref, Said


@dataclass(frozen=True)
class Message:
    """A message under natural keys, with the message itself for each database."""

    refs: tuple[Ref, ...]
    says: tuple[Said, ...]
    bodies: tuple[Batch, ...]

    @property
    def is_result(self) -> bool:
        return isinstance(self.bodies[0], ScoreBatch | LearnBatch)


@dataclass
class Tally:
    """What was tried, and what was met on the way."""

    histories: int = 0
    steps: int = 0
    comparisons: int = 0
    prompts: int = 0
    met: Counter[str] = field(default_factory=Counter)
    trace: list[str] | None = None

    def __str__(self) -> str:
        counts = f"{self.histories} histories, {self.steps} steps, {self.comparisons} comparisons of each database"
        return "\n".join(
            [
                f"{counts}; {self.prompts} prompts ended",
                *(f"  {count:7} {what}" for what, count in sorted(self.met.items())),
            ]
        )


#: What a run must meet to show anything.
WANTED = (
    *("decisive", "tie", "inconsistent", "unscored", "near-duplicates only", "fewer than two usable answers"),
    *("dead in generate", "dead in score", "dead in match", "dead in judge"),
    *("requeued dead", "requeued unanswered", "requeued incomplete", "requeued unscored"),
    *("a result of an old batch that was the first", "a result of work that was open no more"),
    "a result for a prompt that was dead",
    *("an audit of orders", "a first verdict that was enough", "a second order that the first verdict called for"),
    "a second order that was asked for before",
    "a full window",
)

#: What a model may say (None: words of its own), and what the judge may, to whom b is shown first where `shown` is 1.
ANSWERS: tuple[Said | None, ...] = (
    *(None, None, None, None),
    *(("the same words", None), ("The same  words", None), (" ", None), (None, "timed out")),
)
VERDICTS: tuple[Callable[[int], Said], ...] = (
    lambda shown: (0.9 if shown == 0 else 0.1, None),
    lambda shown: (0.9 if shown == 1 else 0.1, None),
    lambda shown: (0.9, None),
    lambda shown: (0.1, None),
    lambda shown: (0.5, None),
    lambda shown: (None, "no verdict was found"),
    lambda shown: (None, "timed out"),
    lambda shown: (1.5, None),
)

picks = st.integers(0, 99)
#: What comes of the items of a message, in turn.
outcomes = st.lists(st.integers(0, 7), min_size=1, max_size=3)
crashes = st.sampled_from(["", "", "", "", "before the commit", "before publishing", "before marking"])
errors = st.sampled_from(["boom", "boom", "boom", RELEASED])
new_prompts = st.lists(st.tuples(st.sampled_from("pqrs"), st.integers(0, len(CONTENTS) - 1)), min_size=1, max_size=4)
streams = st.sampled_from(sorted(MODELS))

REQUEUES = ("dead", "unanswered", "incomplete", "unscored")

#: The commands (methods of `Ledgers`), how often each is drawn, and what it is given.
COMMANDS: tuple[tuple[str, int, tuple[st.SearchStrategy[Any], ...]], ...] = (
    ("accept", 3, (streams, new_prompts, st.sampled_from([0, 0, 5]))),
    ("admit", 4, (crashes,)),
    ("arrive", 5, (st.lists(picks, min_size=1, max_size=4), outcomes, st.booleans(), crashes)),
    ("arrive_all", 4, (outcomes, st.booleans())),
    ("arrive_again", 3, (picks, st.booleans(), outcomes, st.booleans(), crashes)),
    ("lose_one", 1, (picks,)),
    ("lose_redis", 1, ()),
    ("sweep", 4, (picks, st.sampled_from(["vanished", "silent"]), st.integers(1, 4), crashes)),
    ("sweep_what_was_read_before", 1, (picks, st.sampled_from(["vanished", "silent"]), crashes)),
    ("sweep_everything", 1, (crashes,)),
    ("fail_to_record", 4, (picks, errors, st.sampled_from([False, False, False, True]), st.integers(1, 3))),
    ("requeue", 4, (st.sampled_from(REQUEUES), st.sampled_from([None, None, *MODELS]))),
)
commands = st.one_of(*(st.tuples(st.just(name), *given) for name, weight, given in COMMANDS for _time in range(weight)))
