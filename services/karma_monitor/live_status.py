"""The live picture: what flows, what is stuck and what it is worth, as plain data. What is not known is None.

`karma watch` and the page show it once a second, whatever the store holds: long tables are counted in the background,
and everything else is read from windows of what is new (`Pace` says how often).
"""

from __future__ import annotations

import math
import threading
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
from karma_monitor.figures.budget import budget_left
from karma_monitor.figures.cost import Cost, Costs
from karma_monitor.figures.endpoints import Endpoints
from karma_monitor.figures.funnel import funnel
from karma_monitor.figures.quality import quality_of, summary
from karma_monitor.figures.redelivered import redelivered
from karma_monitor.figures.throughput import CARRY_S, Throughput
from karma_monitor.figures.window import Window
from karma_monitor.problems import problems
from karma_monitor.queries.totals import Totals, carry_on, count
from karma_monitor.refresh import Background, Paced

#: Streams that are named; there may be tens of thousands.
STREAMS = 200

#: What one look may spend on taking in new pairs, and the first one, which has a window to fill.
_NEW_PAIRS_S = 0.012
_FIRST_PAIRS_S = 0.25


class LiveStatus:
    """Looks at a store, and at Redis where one runs. One look at a time, whoever asks."""

    def __init__(self, store: Store, redis: Any | None, pool: Pool) -> None:
        self._store = store
        self._redis = redis
        self._pool = pool
        self._tie_margin = pool.tie_margin
        self._clock = store.clock if redis is None else RedisClock(redis)
        self._home = _home(store)
        self._lock = threading.Lock()
        self._whole: Background[Totals] = Background(self._count, most_share=0.01, every_s=1.0)
        self._carried: tuple[Totals, Totals] | None = None  # as counted whole, and carried on since
        self._pulse = Throughput()
        self.window = Window(store)
        self._judged = Paced(self._look_at_pairs, most_share=0.01, every_s=0.9)
        self._endpoints = Endpoints(pool)
        self._called = Paced(self._look_at_calls, most_share=0.01, every_s=0.9)
        self._queued = Paced(self._look_at_queues, most_share=0.005, every_s=0.9)
        self._named = Paced(self._look_at_streams, most_share=0.005, every_s=0.9)
        self._left: float | None = None
        self._resent: Paced[int | None] = Paced(self._ask_gateways, most_share=0.005, every_s=5.0)
        self._alive: list[WorkerInfo] = []
        self._learned = LatestSnapshot()
        self._spent = Costs(store, pool)
        self._costs: Background[Cost] = Background(self._spent.look, most_share=0.1, every_s=1.0)

    def look(self) -> dict[str, Any]:
        """The picture now.

        Raises:
            StoreOutageError: the store is away. Where Redis is, queues and workers are empty.
        """
        self._whole.value()  # the first count takes a while: meanwhile others may ask for something else
        with self._lock:
            return self._picture()

    def hurry(self) -> None:
        """Something was changed on purpose: the next look shows it."""
        self._whole.hurry()
        self._named.hurry()

    def settle(self) -> None:
        """Read the window of pairs and all calls, however long it takes: a report looks only once."""
        with self._lock:
            self.window.renew(math.inf)
            while not self._spent.look().whole:
                pass

    def pairs(self) -> Window:
        """The pairs that were resolved last."""
        with self._lock:
            self._judged.value()
        return self.window

    def cost(self) -> dict[str, Any]:
        """What was spent in all, and by whom."""
        with self._lock:
            spent = self._costs.value()
            decisive = self._carried[1].outcomes["decisive"] if self._carried else 0
        return {
            **_cost(spent, decisive),
            "endpoints": [
                {"name": name, "kind": kind, **tokens._asdict(), "cost": spent.of(kind, name)}
                for (kind, name), tokens in spent.tokens.items()
            ],
        }

    def _picture(self) -> dict[str, Any]:
        whole, totals = self._carried_on()
        self._pulse.look(totals)
        named = self._named.value()
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
            "rates": {f"{name}_per_s": rate for name, rate in self._pulse.rates.items()},
            **self._flow(),
            "in_flight": sum(totals.states[state] for state in ("dispatched", "answered", "matched")),
            "endpoints": self._called.value(),
            "quality": self._judged.value(),
        }
        return {**status, "problems": problems(status, self._pool)}

    # --- totals and rates -----------------------------------------------------------------------------------------

    def _count(self) -> Totals:
        with self._store.reading(COUNTING_S) as transaction:
            return count(transaction.ledger.connection, self._clock())

    def _carried_on(self) -> tuple[Totals, Totals]:
        """The totals as they were last counted whole, and carried on to now."""
        whole = self._whole.value()
        counted, carried = self._carried or (None, whole)
        if counted is not whole:
            carried = whole
        now = self._clock()
        # Nobody looked for long: too much came since to be counted in passing. A count that took as long is carried on.
        if counted is whole and now - carried.at > CARRY_S:
            self._whole.hurry()
        else:
            with self._store.reading() as transaction:
                carried = carry_on(transaction.ledger.connection, carried, now)
        self._carried = (whole, carried)
        return self._carried

    def _outcome(self, totals: Totals, together: Totals) -> dict[str, Any]:
        """What came of it. `together`: totals in which the ended prompts are as new as the preferences."""
        decisive = totals.outcomes["decisive"]
        rate = self._pulse.rates["preferences"]
        per_prompt = together.outcomes["decisive"] / together.ended if together.ended else None
        return {
            "preferences": decisive,
            "preferences_per_min": None if rate is None else 60.0 * rate,
            "preferences_per_prompt": per_prompt,
            "yield": per_prompt,  # the former name
            **_cost(self._costs.value(), decisive),
            "time_left_s": self._pulse.time_left_s,
            "budget_left": self._left,
        }

    # --- parts ----------------------------------------------------------------------------------------------------

    def _look_at_streams(self) -> dict[str, Any]:
        with self._store.reading() as transaction:
            names = stream_names(transaction.ledger.connection, STREAMS)
            stopped = paused(transaction.ledger.connection)
            self._left = budget_left(transaction.ledger.connection, self._pool, self._clock())
        return {"streams": names, "paused": sorted(stopped)[:STREAMS]}

    def _flow(self) -> dict[str, Any]:
        """Queues and workers. A Redis that is away is asked again at the next look."""
        nothing: dict[str, Any] = {"queues": [], "redelivered": None, "workers": []}
        if self._redis is None:
            return nothing
        try:
            return self._queued.value()
        except BrokerOutageError:
            return nothing

    def _look_at_queues(self) -> dict[str, Any]:
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
        return {"queues": queues, "redelivered": self._resent.value(), "workers": alive}

    def _ask_gateways(self) -> int | None:
        return redelivered(self._alive)

    def _look_at_calls(self) -> list[dict[str, Any]]:
        with self._store.reading() as transaction:
            return self._endpoints.renew(transaction)

    def _look_at_pairs(self) -> dict[str, Any]:
        self.window.renew(_NEW_PAIRS_S if len(self.window) else _FIRST_PAIRS_S)
        with self._store.reading() as transaction:
            snapshot = self._learned.newest(transaction)
        records = list(self.window)
        return summary(quality_of(records, self._tie_margin), records, snapshot)


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
        "cost_is_whole": spent.whole,
        "cost_unknown_calls": spent.unknown_calls,
        "cost_excludes": spent.excluded,
    }
