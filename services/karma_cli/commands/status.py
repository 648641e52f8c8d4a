"""`karma status`: prompts by state, outcomes, queues and workers. `karma refused`: refused messages."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from karma.config.kin_judges import KinJudge
from karma.config.kin_judges import notices as kin_notices
from karma.errors import BrokerError
from karma.queue.refused import KEPT, refused_messages
from karma.store.schema import EVERYTHING
from karma.telemetry.escaping import escape_control
from karma_cli.options import HomeOption, PoolOption, open_store_to_read, pool_if_any, read_environment, redis_if_any
from karma_cli.output import Output, preference_table, reason_table, with_format_flags
from karma_cli.terminal.judges import judge_tables
from karma_monitor.conflicts import described as described_conflicts
from karma_monitor.figures.limits import described_jobs, down
from karma_monitor.figures.money.budgets import described as described_budgets
from karma_monitor.figures.predictions import described
from karma_monitor.figures.sampling import notices
from karma_monitor.queries.stream_goals import described as described_goals
from karma_monitor.status import status as read_status

#: Characters of a refused message that its row shows.
_SHOWN_CHARACTERS = 60


@with_format_flags
def status(output: Output, pool: PoolOption = None, home: HomeOption = None) -> None:
    """Show prompts by state, outcomes, queues and workers.

    Without a pool file it shows the queues of the models and judges with open work.

    `-q` prints the number of unfinished prompts.
    """
    env = read_environment(home, pool)
    read_pool = pool_if_any(env, required=pool is not None)
    with closing(open_store_to_read(env)) as store:
        state = read_status(store, redis_if_any(env), read_pool)
    unfinished = sum(count for name, count in state["prompts"].items() if name not in ("done", "dead"))
    output.result(state, tables(state), [unfinished])


def tables(state: dict[str, Any]) -> RenderableType:
    """A status as tables."""
    parts: list[RenderableType] = []
    for title in ("prompts", "resolutions", "preferences", "failed"):
        table = Table(*state[title], title=title, title_justify="left")
        table.add_row(*(f"{count:,}" for count in state[title].values()))
        parts.append(table)
    parts += [Text(line) for line in described_goals(state["goals"])]
    if state["unsure_labels"]:
        unsure = f"{state['unsure_labels']:,} of the predicted labels are not sure enough"
        parts.append(f"{unsure}: exports leave them out by default")
    parts += [Text(escape_control(line)) for line in described_budgets(state["budgets"])]
    parts += [
        Text(escape_control(f"{stream} ends at {_end(end)} (karma enqueue --until)"))
        for stream, end in state["until"].items()
    ]
    if state["cost_usd"]:
        parts.append(Text(f"cost of all calls so far: {state['cost_usd']:,.4f} USD"))
    called = state["models"] | state["judges"]
    parts += [Text(escape_control(f"{name}: {one['rate_limit']}")) for name, one in called.items() if one["rate_limit"]]
    parts += [Text(escape_control(line)) for line in described_jobs(called)]
    parts += [
        Text(escape_control(down(name, kind, one)))
        for kind in ("model", "judge")
        for name, one in state[f"{kind}s"].items()
        if one["breaker"] not in ("closed", None)
    ]
    parts += [Text(escape_control(line)) for line in described_conflicts(state["conflicts"])]
    if state["paused"]:
        named = "everything" if EVERYTHING in state["paused"] else ", ".join(map(escape_control, state["paused"]))
        parts.append(Text(f"paused: {named}; resume with `karma resume`"))
    if state["prompts"]["dead"] or any(state["failed"].values()):
        parts.append(reason_table(state["reasons"], "most frequent reasons of failures"))
        parts.append("all reasons: `karma failures`; retry with `karma requeue`")
    parts += [Text(escape_control(notice)) for notice in notices(state["models"])]
    parts += [Text(escape_control(notice)) for notice in kin_notices(KinJudge(**one) for one in state["kin_judges"])]
    parts += [Text(escape_control(line)) for line in described(state["predictions"])]
    parts += judge_tables(state)
    if state["newest_preferences"]:
        parts.append(preference_table(state["newest_preferences"]))
    queues = Table("queue", "batches", "oldest, s", title="queues", title_justify="left")
    for name, queue in state["queues"].items():
        if queue["length"]:
            queues.add_row(Text(escape_control(name)), f"{queue['length']:,}", f"{queue['age_s']:.1f}")
    workers = Table("service", "worker", "state", title="workers", title_justify="left")
    for worker in state["workers"]:
        workers.add_row(*(Text(escape_control(worker[key])) for key in ("service", "id", "state")))
    if state["refused"]:
        parts.append(f"{state['refused']} refused messages are kept: `karma refused` shows them and why")
    if queues.row_count:
        parts.append(queues)
    parts.append(workers if workers.row_count else "no worker is running; start them with `karma up`")
    return Group(*parts)


def _end(end: dict[str, Any]) -> str:
    prompts = f", or with {end['most_prompts']:,} prompts" if end["most_prompts"] is not None else ""
    return f"{end['preferences']:,} preferences{prompts}"


@with_format_flags
def refused(output: Output, home: HomeOption = None) -> None:
    """Show the newest messages that were refused, and why.

    KARMA did not write them, or not for the queue that they were in. Nothing that they say was done. If they carried
    work, it is open in the ledger and was asked for again.

    `-q` prints how many there are.
    """
    redis = redis_if_any(read_environment(home, None))
    if redis is None:
        raise BrokerError(
            "refused messages are kept in Redis, which cannot be read: start `karma up`, or set KARMA_REDIS_URL"
        )
    found = refused_messages(redis)
    table = Table("time", "queue", "reason", "bytes", "why", "begins with")
    for one in found:
        moment = datetime.fromtimestamp(one.at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        texts = (moment, one.queue, one.reason, f"{one.size:,}", one.why, one.beginning[:_SHOWN_CHARACTERS])
        table.add_row(*(Text(escape_control(text)) for text in texts))
    shown = table if found else f"no message was refused (the newest {KEPT} are kept)"
    output.result({"refused": [msgspec.to_builtins(one) for one in found]}, shown, [len(found)])
