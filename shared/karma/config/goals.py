"""What the data of a stream is for, and the settings that a goal chooses where the pool file does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from karma.plugins.registry import judge_kind

Goal = Literal["train", "reward", "rank", "label"]

GOALS: tuple[Goal, ...] = get_args(Goal)
#: Of a stream that begins while its table names none. The store keeps the goal that a stream began with.
DEFAULT_GOAL: Goal = "train"

#: Fewest models of a stream for labels by prediction: those of two or three would be of few pairs again and again.
LEAST_MODELS = 4
#: P(better | decisive) below which no pair is labeled because the posterior is sure, whatever the stream's threshold.
LEAST_SURE = 0.75

#: What each goal sets; every key can be set by hand. `docs/decisions/0016-what-the-data-is-for.md` has the reasons.
SETTINGS: Mapping[Goal, Mapping[str, Any]] = MappingProxyType(
    {
        "train": {
            "policy": "wide-gap",
            "responses_per_prompt": 4,
            "pairs_per_prompt": 2,
            "label_at": 0.9,
            "judge_share": 0.07,
        },
        "reward": {"policy": "random", "label_at": 0.9, "judge_share": 0.2, "audit_share": 0.2},
        "rank": {"policy": "informative"},
        "label": {"policy": "informative"},
    }
)

#: Settings about labels by prediction, and those that are sensible only because most labels cost nothing.
_OF_LABELS = ("label_at", "judge_share", "audit_share")
_OF_MANY_PAIRS = ("responses_per_prompt", "pairs_per_prompt")


def with_goal(
    table: Mapping[str, Any], models: int, judge_kinds: Iterable[str], unless_named: Goal = DEFAULT_GOAL
) -> dict[str, Any]:
    """A stream's table with its goal, and the settings of the goal for the keys that it does not have.

    A goal labels nothing by prediction where the judges are free or the models few: then everything is judged. With few
    models and judges that cost something, a prompt has one pair.

    Args:
        table: as in the pool file; its values need not be valid.
        models: number of the stream's models; 0 where all responses come with their prompts.
        judge_kinds: of the stream's judges.
        unless_named: the goal where the table names none.
    """
    goal = table.get("goal", unless_named)
    chosen = dict(SETTINGS.get(goal, {})) if isinstance(goal, str) else {}  # type: ignore[call-overload]
    free, few = all(judge_kind(kind).free for kind in judge_kinds), 0 < models < LEAST_MODELS
    left_out = (*_OF_LABELS * (free or few), *_OF_MANY_PAIRS * (few and not free))
    chosen = {key: value for key, value in chosen.items() if key not in left_out}
    return {"goal": goal, **chosen, **table}


def chosen_by_goal(goal: Goal, settings: object) -> dict[str, Any]:
    """The settings of a stream (attributes) that have the values which its goal gives them."""
    return {key: value for key, value in SETTINGS[goal].items() if getattr(settings, key) == value}
