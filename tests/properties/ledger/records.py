"""What the model holds and what a database is read into: a prompt and its open work under natural keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from karma.config.pool import Pool
from karma.ranking.orders import SecondOrder
from karma.store.records import BatchLimits
from tests.support.memory import make_pool

WINDOW, AT_ONCE, ATTEMPTS = 5, 3, 2
AUDIT_SHARE = 0.3
#: Of the judge: a verdict for the response shown first is doubted, one for the other is not.
SECOND_ORDER = SecondOrder((0.0, 0.0, -5.0, 0.0))
LIMITS = BatchLimits(items=3)


def pool(batch_items: int) -> Pool:
    return make_pool(
        "abc",
        stream={"responses_per_prompt": 0, "policy": "all-pairs", "pairs_per_prompt": 0},
        streams={
            "duo": {"models": ["a", "b"]},
            "adaptive": {"orders": "adaptive", "order_audit_share": AUDIT_SHARE},
            "single": {"orders": "one", "models": ["a", "b"]},
        },
        pipeline={"window": WINDOW, "plan_prompts": AT_ONCE, "batch_items": batch_items, "max_attempts": ATTEMPTS},
    )


POOL = pool(LIMITS.items)
SWEEPERS_POOL = pool(2)  # the limit was lowered while larger batches were on their way
MODELS = {"default": "abc", "duo": "ab", "adaptive": "abc", "single": "ab"}
IN_FLIGHT = ("dispatched", "answered", "matched")

#: What prompts may say. Some bring answers: of other models, of one model twice, and one that is empty.
CONTENTS: tuple[dict[str, Any], ...] = (
    {"prompt": "plain"},
    {"prompt": "of a skill", "skill": "maths"},
    {"prompt": "with answers", "responses": {"b": "yes", "x": "no, it is not"}},
    {"prompt": "with two of one model", "responses": [{"model": "x", "text": "1"}, {"model": "x", "text": "2"}]},
    {"prompt": "with an empty one", "responses": {"x": "1", "a": " "}},
)
CONTENT = {one["prompt"]: one for one in CONTENTS}

Key = tuple[str, str]  # stream, prompt_id
Side = tuple[str, int]  # model, sample
Pair = tuple[Side, Side]  # in the order in which the two were recorded
Said = tuple[Any, str | None]  # a text or probability, or a failure
Resolution = tuple[str, Side | None, float | None, bool | None, str | None]  # outcome, chosen, P(a), flipped, reason

NO_PAIR: Pair = (("", 0), ("", 0))


class Item(NamedTuple):
    """The natural key of open work, within its prompt."""

    stage: str
    target: str = ""
    sample: int = 0
    pair: Pair | None = None
    shown: int = 0


class Ref(NamedTuple):
    """Open work as a message names it; `asked` tells work that was asked for anew from the same work before."""

    key: Key
    item: Item
    asked: int


@dataclass
class Open:
    """What is remembered of open work."""

    asked: int = field(default=0, compare=False)
    attempts: int = 0
    result_attempts: int = 0
    error: str | None = None
    parked: bool = False


@dataclass
class Prompt:
    """Everything about a prompt: what the model holds, and what a database is read into."""

    content: str
    priority: int
    state: str = "accepted"
    awaited: int = 0  # while dispatched or matched
    no_pair: str | None = None
    error: str | None = None
    responses: dict[Side, Said] = field(default_factory=dict)
    pairs: dict[Pair, int] = field(default_factory=dict)  # verdicts awaited
    first: dict[Pair, tuple[int, bool]] = field(default_factory=dict)  # first order, audited; none: both orders
    verdicts: dict[tuple[Pair, int], Said] = field(default_factory=dict)  # by pair and order
    resolutions: dict[Pair, Resolution] = field(default_factory=dict)
    open: dict[Item, Open] = field(default_factory=dict)
