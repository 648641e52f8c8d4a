"""`karma status` and `karma models`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from karma.config.environment import Environment
from karma.errors import BrokerError, SettingsError, did_you_mean
from karma.queue.redis import connect
from karma.ranking.snapshot import Snapshot
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.schema import EVERYTHING
from karma_cli.commands.watch import watch
from karma_cli.options import (
    HomeOption,
    Output,
    PoolOption,
    environment,
    formatted,
    open_store,
    read_pool,
    warn,
)
from karma_monitor.escaping import escape_control
from karma_monitor.figures.leaderboard import Z90, Point, Rating, leaderboard, skills_of
from karma_monitor.status import status as read_status

__all__ = ["competencies", "models", "render", "status", "watch"]

#: Refits of which a model's course is drawn.
_COURSE_POINTS = 24


@formatted
def status(output: Output, pool: PoolOption = None, home: HomeOption = None) -> None:
    """Show what is where: prompts by state, resolutions, queues, workers.

    `-q` prints how many prompts have not ended.
    """
    found = environment(home, pool)
    read, store = read_pool(found), open_store(found)
    state = read_status(store, _redis(found), read)
    store.close()
    still_open = sum(count for name, count in state["prompts"].items() if name not in ("done", "dead"))
    output.give(state, render(state), [still_open])


@formatted
def models(
    output: Output,
    skill: Annotated[str | None, typer.Option("--skill", help="Only this skill; `overall` is the mean of all.")] = None,
    home: HomeOption = None,
) -> None:
    """Show how good each model is at each skill and how sure that is, its nearest kin, and how it moved.

    `-q` prints the models' names, best first.
    """
    store = open_store(environment(home))
    with store.reading() as transaction:
        snapshot = LatestSnapshot().newest(transaction)
        course = transaction.preferences.competency_history(points=_COURSE_POINTS)
    store.close()
    if skill is not None and skill not in skills_of(snapshot):
        raise SettingsError(f"no skill is called {skill!r}{did_you_mean(skill, skills_of(snapshot))}")
    shown = skills_of(snapshot) if skill is None else (skill,)
    ladders = {name: leaderboard(snapshot, name, course) for name in shown}
    if not snapshot.models:
        warn("nothing was learnt yet: no pair has been judged. Next: karma enqueue FILE")
    table = competencies(snapshot, shown, course) if snapshot.models else None
    output.give(_as_data(snapshot, ladders), table, [one.model for one in ladders[shown[0]]])


def render(state: dict[str, Any]) -> RenderableType:
    """A status as tables."""
    tables: list[RenderableType] = []
    for title in ("prompts", "resolutions", "preferences", "failed"):
        table = Table(*state[title], title=title, title_justify="left")
        table.add_row(*(f"{count:,}" for count in state[title].values()))
        tables.append(table)
    if state["paused"]:
        named = "everything" if EVERYTHING in state["paused"] else ", ".join(map(escape_control, state["paused"]))
        tables.append(Text(f"paused: {named}; karma resume goes on"))
    if state["prompts"]["dead"] or any(state["failed"].values()):
        tables.append("why: prompts.error, responses.failure, verdicts.failure in the store; again: karma requeue")
    queues = Table("queue", "batches", "oldest, s", title="queues", title_justify="left")
    for name, queue in state["queues"].items():
        if queue["length"]:
            queues.add_row(Text(escape_control(name)), f"{queue['length']:,}", f"{queue['age_s']:.1f}")
    workers = Table("service", "worker", "state", title="workers", title_justify="left")
    for worker in state["workers"]:
        workers.add_row(*(Text(escape_control(worker[key])) for key in ("service", "id", "state")))
    if queues.row_count:
        tables.append(queues)
    tables.append(workers if workers.row_count else "no worker runs; start them with `karma up`")
    return Group(*tables)


def competencies(snapshot: Snapshot, skills: Sequence[str] = (), course: Sequence[Point] = ()) -> RenderableType:
    """The competencies per skill (of none: all) in one table, best first; ± is half of the 90 % interval.

    Order, kin and trend are those of the first skill; the trend needs a course.
    """
    first, *others = skills or skills_of(snapshot)
    table = Table(title="competency, logits ± 90 % interval", title_justify="left", box=SIMPLE, pad_edge=False)
    trend = ["trend"] if course else []
    for name in ("model", first, *trend, "nearest kin", *others):
        table.add_column(Text(escape_control(name)), no_wrap=True)
    columns = [{one.model: _level(one) for one in leaderboard(snapshot, skill)} for skill in others]
    for one in leaderboard(snapshot, first, course):
        kin = "unknown yet" if one.kin is None else f"{escape_control(one.kin)} {one.kinship:.2f}"
        moved = [_trend(one)] if course else []
        levels = (column[one.model] for column in columns)
        table.add_row(Text(escape_control(one.model)), _level(one), *moved, Text(kin), *levels)
    return table


def _level(standing: Rating) -> str:
    return f"{standing.mean:+.1f} ± {Z90 * standing.deviation:.1f}"


def _trend(standing: Rating) -> str:
    if standing.change is None or standing.change_s is None:
        return "–"
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    unit, unit_s = next((one for one in units if standing.change_s >= 0.95 * one[1]), units[-1])
    return f"{standing.sparkline} {standing.change:+.1f} in {standing.change_s / unit_s:.0f} {unit}"


def _as_data(snapshot: Snapshot, ladders: Mapping[str, Sequence[Rating]]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {model: {} for model in snapshot.models}
    for skill, standings in ladders.items():
        for one in standings:
            found[one.model][skill] = {
                "mean": one.mean,
                "deviation": one.deviation,
                "low": one.low,
                "high": one.high,
                "kin": one.kin,
                "kinship": one.kinship,
                "change": one.change,
                "change_s": one.change_s,
                "course": one.course,
            }
    return {"version": 1, "snapshot": snapshot.version, "interval": 0.9, "models": found}


def _redis(found: Environment) -> Any | None:
    """The Redis in use, or None where none runs: the store alone can still be shown."""
    try:
        return connect(found.broker_url())
    except (BrokerError, SettingsError):
        return None
