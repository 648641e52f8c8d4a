"""The live status: throughput, losses, pair quality, queues and endpoints, as plain data. None is unknown.

`karma watch` and the page read it once a second, however long the store is: long tables are counted in the background,
and everything else is read from windows of new rows (`karma_monitor.refresh` says how often).
"""

from __future__ import annotations

import math
import threading
from itertools import islice
from pathlib import Path
from typing import Any

from karma.config.pool import Pool
from karma.errors import BrokerOutageError
from karma.queue.backlog import all_queues, queue_state
from karma.queue.heartbeats import WorkerInfo, workers
from karma.queue.redis import RedisClock
from karma.store import Store
from karma.store.database import COUNTING_S
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.streams import paused, stream_names
from karma_monitor.conflicts import conflicts
from karma_monitor.figures.budget import budget_left, hourly_calls, summed
from karma_monitor.figures.endpoints import NAMES, Endpoints
from karma_monitor.figures.funnel import funnel
from karma_monitor.figures.judges.canaries import canary_figures
from karma_monitor.figures.limits import endpoint_limits
from karma_monitor.figures.money.budgets import budgets_usd
from karma_monitor.figures.money.cost import Cost, Costs
from karma_monitor.figures.quality import quality_of, rules_of, summary
from karma_monitor.figures.redelivered import redelivered
from karma_monitor.figures.throughput import CARRY_S, Throughput
from karma_monitor.figures.window import Window
from karma_monitor.problems import problems
from karma_monitor.queries.totals import Totals, count, update
from karma_monitor.refresh import Background, Paced

#: Most streams that are named; there may be tens of thousands.
STREAMS = 200

#: Seconds that one read may spend on new pairs; the first read fills the window.
_NEW_PAIRS_S = 0.012
_FIRST_PAIRS_S = 0.25


class LiveStatus:
    """Reads the live status of a store, and of Redis where one runs. One thread reads at a time."""

    def __init__(self, store: Store, redis: Any | None, pool: Pool) -> None:
        self._store = store
        self._redis = redis
        self._pool = pool
        self._tie_margin = pool.tie_margin
        self.rules = rules_of(pool)
        self._clock = store.clock if redis is None else RedisClock(redis)
        self._home = _home(store)
        self._lock = threading.Lock()
        self._full_count: Background[Totals] = Background(self._count, most_share=0.01, every_s=1.0)
        self._totals: tuple[Totals, Totals] | None = None  # by the last full count, and updated since
        self._throughput = Throughput()
        self.window = Window(store)
        self._judged = Paced(self._read_pairs, most_share=0.01, every_s=0.9)
        self._endpoints = Endpoints(pool)
        self._called = Paced(self._read_calls, most_share=0.01, every_s=0.9)
        self._queued = Paced(self._read_queues, most_share=0.005, every_s=0.9)
        self._named = Paced(self._read_streams, most_share=0.005, every_s=0.9)
        self._hourly: dict[str, Any] = {"budget_left": None, "judge_calls": None}
        self._resent: Paced[int | None] = Paced(self._ask_gateways, most_share=0.005, every_s=5.0)
        self._alive: list[WorkerInfo] = []
        self._learned = LatestSnapshot()
        self._canaries = Paced(self._read_canaries, most_share=0.01, every_s=0.9)
        self._costs: Paced[Cost] = Paced(Costs(store, pool).read, most_share=0.01, every_s=0.9)

    def read(self) -> dict[str, Any]:
        """The live status now. While Redis is unavailable, queues and workers are empty.

        Raises:
            StoreOutageError: the store is unavailable.
        """
        self._full_count.value()  # the first count is slow: the lock stays free for other requests
        with self._lock:
            return self._status()

    def expire(self) -> None:
        """Read totals and pauses again at the next read: a user changed something."""
        self._full_count.expire()
        self._named.expire()

    def read_everything(self) -> None:
        """Read the window of pairs, however long it takes: a report is read only once."""
        with self._lock:
            self.window.renew(math.inf)

    def pairs(self) -> Window:
        """The newest resolved pairs."""
        with self._lock:
            self._judged.value()
        return self.window

    def cost(self) -> dict[str, Any]:
        """The cost of all calls, and of each model and judge."""
        with self._lock:
            spent = self._costs.value()
            decisive = self._totals[1].outcomes["decisive"] if self._totals else 0
        return {
            **_cost(spent, decisive),
            "endpoints": [
                {
                    **{"name": name, "kind": kind, "tokens_in": sums.tokens_in, "tokens_out": sums.tokens_out},
                    **{"calls": sums.calls, "metered": sums.priced + sums.unpriced, "cost": spent.of(kind, name)},
                }
                for (kind, name), sums in islice(spent.sums.items(), 2 * NAMES)
            ],
        }

    def _status(self) -> dict[str, Any]:
        whole, totals = self._current_totals()
        self._throughput.add(totals)
        named, flow = self._named.value(), self._flow()
        limits = flow.pop("limits")
        status = {
            "version": 1,
            "at": self._clock(),
            "counted_at": totals.at,
            "home": self._home,
            **named,
            "outcome": self._outcome(totals, totals if totals.states_at == totals.at else whole),
            "states": dict(totals.states),
            "resolutions": {**totals.outcomes, "no_pair": totals.without_pair},
            "preferences": totals.preferences,
            "funnel": funnel(totals),
            "rates": {f"{name}_per_s": rate for name, rate in self._throughput.rates.items()},
            **flow,
            "in_flight": sum(totals.states[state] for state in ("dispatched", "answered", "matched")),
            "endpoints": [one | {"limits": limits.get(one["name"])} for one in self._called.value()],
            "endpoints_left_out": self._endpoints.left_out,
            "quality": self._judged.value(),
            "canaries": self._canaries.value(),
        }
        return {**status, "problems": problems(status, self._pool)}

    # --- totals and rates -----------------------------------------------------------------------------------------

    def _count(self) -> Totals:
        with self._store.reading(COUNTING_S) as transaction:
            return count(transaction.ledger.connection, self._clock())

    def _current_totals(self) -> tuple[Totals, Totals]:
        """The totals of the last full count, and the same updated to now."""
        whole = self._full_count.value()
        counted, carried = self._totals or (None, whole)
        if counted is not whole:
            carried = whole
        now = self._clock()
        # After a long time without a read there are too many new rows for an update. A count that took as long is kept.
        if counted is whole and now - carried.at > CARRY_S:
            self._full_count.expire()
        else:
            with self._store.reading() as transaction:
                carried = update(transaction.ledger.connection, carried, now)
        self._totals = (whole, carried)
        return self._totals

    def _outcome(self, totals: Totals, together: Totals) -> dict[str, Any]:
        """Preferences, yield, cost and time left. In the totals `together`, prompts are as new as preferences."""
        decisive = totals.outcomes["decisive"]
        rate = self._throughput.rates["preferences"]
        per_prompt = together.outcomes["decisive"] / together.ended if together.ended else None
        return {
            "preferences": decisive,
            "preferences_per_min": None if rate is None else 60.0 * rate,
            "preferences_per_prompt": per_prompt,
            "yield": per_prompt,  # the former name
            **_cost(self._costs.value(), decisive),
            "time_left_s": self._throughput.time_left_s,
            **self._hourly,
        }

    # --- parts ----------------------------------------------------------------------------------------------------

    def _read_streams(self) -> dict[str, Any]:
        with self._store.reading() as transaction:
            names = stream_names(transaction.ledger.connection, STREAMS)
            stopped = paused(transaction.ledger.connection)
            calls = hourly_calls(transaction.ledger.connection, self._pool, self._clock())
            money = budgets_usd(transaction, self._pool, STREAMS)
        self._hourly = {"budget_left": budget_left(calls), "judge_calls": summed(calls, self._pool)}
        return {"streams": names, "paused": sorted(stopped)[:STREAMS], "budgets": money}

    def _flow(self) -> dict[str, Any]:
        """Queues and workers. While Redis is unavailable, every read tries it again."""
        nothing: dict[str, Any] = {"queues": [], "redelivered": None, "workers": [], "conflicts": [], "limits": {}}
        if self._redis is None:
            return nothing
        try:
            return dict(self._queued.value())
        except BrokerOutageError:
            return nothing

    def _read_queues(self) -> dict[str, Any]:
        now = self._clock()
        queues = [
            {"queue": name, "stage": name.partition(".")[0], "length": length, "age_s": age}
            for name, (length, age) in queue_state(self._redis, all_queues(self._pool), now).items()
        ]
        self._alive = workers(self._redis)
        alive = [
            {
                "service": info.service,
                "id": info.id,
                "state": info.state,
                "pid": info.pid,
                "metrics_port": info.metrics_port,
                "beat_age_s": max(0.0, now - info.beat),
            }
            for info in self._alive
        ]
        limits = endpoint_limits(self._redis, self._pool, now)
        return {
            **{"queues": queues, "redelivered": self._resent.value(), "workers": alive},
            **{"conflicts": conflicts(self._alive), "limits": limits},
        }

    def _ask_gateways(self) -> int | None:
        return redelivered(self._alive)

    def _read_calls(self) -> list[dict[str, Any]]:
        with self._store.reading() as transaction:
            return self._endpoints.renew(transaction)

    def _read_pairs(self) -> dict[str, Any]:
        self.window.renew(_NEW_PAIRS_S if len(self.window) else _FIRST_PAIRS_S)
        with self._store.reading() as transaction:
            snapshot = self._learned.newest(transaction)
        records = list(self.window)
        return summary(quality_of(records, self._tie_margin, self.rules), records, snapshot)

    def _read_canaries(self) -> list[dict[str, Any]]:
        with self._store.reading() as transaction:
            return canary_figures(transaction.ledger.connection, self._tie_margin)


def _home(store: Store) -> str:
    """Where the store is: the folder of a file, or the address of a database without its password."""
    database = store.engine.url.database
    is_file = store.engine.dialect.name == "sqlite" and database
    return str(Path(database).parent) if is_file and database else store.shown_url


def _cost(spent: Cost, preferences: int) -> dict[str, Any]:
    total = spent.total
    return {
        "cost": total,
        "cost_per_preference": total / preferences if total is not None and preferences else None,
        "currency": "USD",
        "cost_unknown_calls": spent.unknown_calls,
        "cost_excludes": spent.excluded,
    }
