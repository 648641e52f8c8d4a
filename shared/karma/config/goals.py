"""What the data of a stream is for, and the settings that a goal chooses where the pool file does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from karma.plugins.registry import judge_kind

Goal = Literal["train", "reward", "rank", "label"]

#: Fewest models of a stream for labels by prediction: those of two or three would be of few pairs again and again.
LEAST_MODELS = 4
#: P(better | decisive) below which no pair is labeled because the posterior is sure, whatever the stream's threshold.
LEAST_SURE = 0.75

#: What each goal sets; every key can be set by hand. `docs/decisions/0016-what-the-data-is-for.md` has the reasons.
SETTINGS: Mapping[Goal, Mapping[str, Any]] = MappingProxyType(
    {
        "train": {"policy": "best-vs-worst", "label_at": 0.9, "judge_share": 0.2, "audit_share": 0.05},
        "reward": {"policy": "random", "label_at": 0.9, "judge_share": 0.2, "audit_share": 0.05},
        "rank": {"policy": "informative"},
        "label": {"policy": "informative"},
    }
)

#: Settings about labels by prediction.
_OF_LABELS = ("label_at", "judge_share", "audit_share")


def with_goal(table: Mapping[str, Any], models: int, judge_kinds: Iterable[str]) -> dict[str, Any]:
    """A stream's table with the settings of its goal for the keys that it does not have.

    A goal labels nothing by prediction where the judges are free or the models few: then everything is judged.

    Args:
        table: as in the pool file; its values need not be valid.
        models: number of the stream's models; 0 where all responses come with their prompts.
        judge_kinds: of the stream's judges.
    """
    goal = table.get("goal")
    chosen = dict(SETTINGS.get(goal, {})) if isinstance(goal, str) else {}  # type: ignore[call-overload]
    if 0 < models < LEAST_MODELS or all(judge_kind(kind).free for kind in judge_kinds):
        chosen = {key: value for key, value in chosen.items() if key not in _OF_LABELS}
    return {**chosen, **table}


def goal_chose(goal: Goal, key: str, value: Any) -> bool:
    """Whether a setting has the value that the goal gives it."""
    return key in SETTINGS[goal] and SETTINGS[goal][key] == value
