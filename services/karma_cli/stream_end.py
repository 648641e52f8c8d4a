"""The end of a stream (`karma enqueue --until`), and what is said while prompts wait for a budget or an endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from karma.config.derived_streams import check_enqueued
from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import KarmaError, SettingsError, StoreOutageError
from karma.queue.redis import RedisClock, connect
from karma.store import Store
from karma.store.database import COUNTING_S
from karma.store.streams import StreamEnd, set_stream_end, stream_ends
from karma.store.until import progress_of
from karma.telemetry.escaping import escape_control
from karma_cli.output import warn

#: Prompts that stay accepted and are named.
_NAMED_PROMPTS = 5
#: Seconds between two looks at the budgets.
_LOOK_S = 2.0
#: Seconds for which an endpoint is left alone before a command that waits says so.
_DOWN_S = 10.0


def set_end(store: Store, stream: str, until: int | None, max_prompts: int | None) -> None:
    """Record where the stream's admission stops: at `until` preferences (0: nowhere), or `max_prompts` more prompts.

    Raises:
        SettingsError: there is a number of prompts, and no end; or the stream's name is reserved.
    """
    if max_prompts is not None and not until:
        raise SettingsError("--max-prompts is the most prompts of --until N: name that too")
    if until is None:
        return
    check_enqueued(stream)
    with store.transaction() as transaction:
        transaction.ledger.add_stream(stream)
        connection = transaction.ledger.connection
        progress = progress_of(connection, stream)
        most = None if max_prompts is None else progress.ended + progress.in_flight + max_prompts
        set_stream_end(connection, stream, StreamEnd(until, most) if until else None)


def reached(store: Store, stream: str, waited: bool) -> tuple[dict[str, Any], str] | None:
    """Where the stream's admission stops, how far it is, and the prompts that stay accepted; None without an end."""
    with suppress(StoreOutageError), store.reading(COUNTING_S) as transaction:
        connection = transaction.ledger.connection
        end = stream_ends(connection).get(stream)
        if end is None:
            return None
        progress = progress_of(connection, stream)
        named = transaction.ledger.waiting_ids(stream, _NAMED_PROMPTS) if waited else []
        data = {**end._asdict(), "now": progress.preferences, "left_accepted": progress.accepted, "named": named}
        if not waited:
            return data, f"the stream ends at {end.preferences:,} preferences; it has {progress.preferences:,}"
        text = f"{progress.preferences:,} of {end.preferences:,} preferences"
        if progress.accepted:
            first = f" ({', '.join(named)}{', …' if progress.accepted > len(named) else ''})"
            text += f"; {progress.accepted:,} prompts stay accepted{first}: --until 0 lets them in"
        return data, escape_control(text)
    return None


def budget_notice(store: Store, pool: Pool | None) -> Callable[[], None]:
    """What says that prompts wait for a higher budget: once, and again where they went on meanwhile."""
    from karma_monitor.figures.money.budgets import budgets_usd, waiting

    said: set[str] = set()
    look_at_s = [0.0]

    def look() -> None:
        if time.monotonic() < look_at_s[0]:
            return
        look_at_s[0] = time.monotonic() + _LOOK_S
        with suppress(StoreOutageError), store.reading() as transaction:
            found = budgets_usd(transaction, pool)
        now = {name for name, budget in found.items() if budget["waits"]}
        for stream in sorted(now - said):
            warn(next(waiting({stream: found[stream]})))
        said.clear()
        said.update(now)

    return look


def endpoint_notice(env: Environment, pool: Pool | None) -> Callable[[], None]:
    """What says that a model or judge is not called, and why: once, and again where it was called meanwhile."""
    from karma_monitor.figures.limits import down, endpoint_limits

    said: set[str] = set()
    look_at_s = [0.0]

    def look() -> None:
        if pool is None or time.monotonic() < look_at_s[0]:
            return
        look_at_s[0] = time.monotonic() + _LOOK_S
        with suppress(KarmaError), connect(env.broker_url()) as redis:
            limits = endpoint_limits(redis, pool, RedisClock(redis)())
            shut = {name: one for name, one in limits.items() if one["breaker"] != "closed"}
            late = {name for name, one in shut.items() if (one["open_s"] or 0.0) >= _DOWN_S}
            for name in sorted(late - said):
                warn(escape_control(down(name, "model" if name in pool.models else "judge", shut[name])))
            said.intersection_update(shut)
            said.update(late)

    return look
