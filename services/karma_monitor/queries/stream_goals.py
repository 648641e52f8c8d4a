"""The goals of streams, and how many of a stream's pairs are judged and how many get a predicted label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from karma.config.derived_streams import derivation
from karma.config.pool import Pool
from karma.store.streams import recorded_goals, stream_names
from karma.telemetry.escaping import escape_control
from karma_monitor.queries.pairs import judge_budgets

#: Most streams whose goals are read: the newest.
_STREAMS = 100
#: Most streams that a line names.
_NAMED = 8


@dataclass(frozen=True)
class Labeling:
    """How the pairs of a stream get their labels.

    Attributes:
        goal: of the stream; None where neither the store nor a pool file says it.
        limited: whether a budget limits how many pairs are judged.
        judged: pairs so far that go to judges, under the budget.
        predicted: pairs so far that get a predicted label instead.
    """

    goal: str | None
    limited: bool
    judged: int
    predicted: int

    def data(self) -> dict[str, Any]:
        """As JSON data; `pairs_so_far` is null where every pair is judged."""
        pairs = {"judged": self.judged, "predicted": self.predicted} if self.limited else None
        return {"goal": self.goal, "pairs_so_far": pairs}

    def sentence(self) -> str | None:
        """For people; None where every pair is judged."""
        if not self.limited:
            return None
        goal = f"goal {escape_control(self.goal)}: " if self.goal else ""
        pairs = self.judged + self.predicted
        if not pairs:
            return f"{goal}some labels will be predicted, not judged (`karma export` says how many)"
        return f"{goal}of {pairs:,} pairs so far {self.predicted:,} get a predicted label, {self.judged:,} are judged"


def labeling(connection: Connection, pool: Pool | None, stream: str) -> Labeling:
    """How the pairs of a stream get their labels; without a pool file, as the store says."""
    began_with = recorded_goals(connection, [stream]).get(stream)
    settings = None if pool is None else pool.stream(stream, began_with)
    budgets = judge_budgets(connection, stream, limit=1)
    seen, judged = (budgets[0].seen, budgets[0].judged) if budgets else (0, 0)
    limited = bool(budgets) if settings is None else settings.has_judge_budget
    return Labeling(began_with if settings is None else settings.goal, limited, judged, seen - judged)


def goals(connection: Connection, pool: Pool | None) -> dict[str, dict[str, str | None]]:
    """Stream → its goal, and the one that it began with; of the newest streams that are not derived.

    The two differ where the pool file names another goal. None is not known yet, or not known without a pool file.
    """
    names = [name for name in stream_names(connection, _STREAMS) if derivation(name) is None]
    recorded = recorded_goals(connection, names)
    return {
        name: {"goal": began if pool is None else pool.stream(name, began).goal, "began_with": began}
        for name, began in recorded.items()
    }


def described(found: Mapping[str, Mapping[str, str | None]]) -> Iterator[str]:
    """A sentence for each goal with its streams, and which of them began with another one."""
    streams: defaultdict[str, list[str]] = defaultdict(list)
    for name, one in sorted(found.items()):
        if one["goal"] is not None:
            changed = one["began_with"] not in (None, one["goal"])
            streams[one["goal"]].append(f"{name} (began with {one['began_with']})" if changed else name)
    for goal, names in sorted(streams.items()):
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield escape_control(f"goal {goal}: {', '.join(names[:_NAMED])}{more}")
