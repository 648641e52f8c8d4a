"""`karma status`, `karma watch`, `karma models`."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from karma.broker import connect
from karma.competencies import Competencies
from karma.errors import BrokerError, SettingsError
from karma.settings import Environment
from karma.snapshot import OVERALL, Snapshot
from karma.store import Store
from karma_gateway.cli.options import HomeOption, JsonOption, PoolOption, console, environment, open_store, read_pool
from karma_gateway.status import status as read_status

#: Data for people. Without a terminal the tables get the room they need.
out = Console(width=None if sys.stdout.isatty() else 130)


def status(as_json: JsonOption = False, pool: PoolOption = None, home: HomeOption = None) -> None:
    """Show what is where: prompts by state, resolutions, queues, workers."""
    found = environment(home, pool)
    read, store = read_pool(found), open_store(found)
    state = read_status(store, _redis(found), read)
    store.close()
    if as_json:
        print(json.dumps(state))
    else:
        out.print(render(state))


def watch(
    pool: PoolOption = None,
    home: HomeOption = None,
    every_s: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Show the status live until Ctrl-C."""
    found = environment(home, pool)
    read, store = read_pool(found), open_store(found)
    try:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                state = read_status(store, _redis(found), read)
                live.update(Group(render(state), competencies(_snapshot(store))), refresh=True)
                time.sleep(every_s)
    except KeyboardInterrupt:
        pass
    finally:
        store.close()


def models(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show the learnt competency of each model per skill, in logits, with its standard deviation."""
    store = open_store(environment(home))
    snapshot = _snapshot(store)
    store.close()
    if as_json:
        print(json.dumps(_plain(snapshot)))
    elif not snapshot.models:
        console.print("nothing was learnt yet: no pair has been judged. Next: karma enqueue FILE")
    else:
        out.print(competencies(snapshot))


def render(state: dict[str, Any]) -> RenderableType:
    """A status as tables."""
    tables: list[RenderableType] = []
    for title in ("prompts", "resolutions", "preferences", "failed"):
        table = Table(*state[title], title=title, title_justify="left")
        table.add_row(*(f"{count:,}" for count in state[title].values()))
        tables.append(table)
    if state["prompts"]["dead"] or any(state["failed"].values()):
        tables.append("why: prompts.error, responses.failure, verdicts.failure in the store; again: karma requeue")
    queues = Table("queue", "batches", "oldest, s", title="queues", title_justify="left")
    for name, queue in state["queues"].items():
        if queue["length"]:
            queues.add_row(name, f"{queue['length']:,}", f"{queue['age_s']:.1f}")
    workers = Table("service", "worker", "state", title="workers", title_justify="left")
    for worker in state["workers"]:
        workers.add_row(worker["service"], worker["id"], worker["state"])
    if queues.row_count:
        tables.append(queues)
    tables.append(workers if workers.row_count else "no worker runs; start them with `karma up`")
    return Group(*tables)


def competencies(snapshot: Snapshot) -> RenderableType:
    """The competencies as a ladder, best first; ± is one posterior standard deviation."""
    table = Table(title="competency, logits ± deviation", title_justify="left", box=SIMPLE, pad_edge=False)
    for name in ("model", "overall", *snapshot.skills):
        table.add_column(name, no_wrap=True)
    columns = [
        (snapshot.vector("mean", snapshot.models, skill), snapshot.vector("deviation", snapshot.models, skill))
        for skill in (OVERALL, *snapshot.skills)
    ]
    order = sorted(range(len(snapshot.models)), key=lambda place: -columns[0][0][place])
    for place in order:
        table.add_row(
            snapshot.models[place], *(f"{mean[place]:+.1f} ± {deviation[place]:.1f}" for mean, deviation in columns)
        )
    return table


def _plain(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "version": snapshot.version,
        "models": {
            model: {
                skill: {
                    "mean": float(snapshot.vector("mean", [model], skill)[0]),
                    "deviation": float(snapshot.vector("deviation", [model], skill)[0]),
                }
                for skill in (OVERALL, *snapshot.skills)
            }
            for model in snapshot.models
        },
    }


def _snapshot(store: Store) -> Snapshot:
    with store.reading() as transaction:
        return Competencies().newest(transaction)


def _redis(found: Environment) -> Any | None:
    """The Redis in use, or None where none runs: the store alone can still be shown."""
    try:
        return connect(found.broker_url())
    except (BrokerError, SettingsError):
        return None
