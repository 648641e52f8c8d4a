"""Metrics of the store and of Redis, served by the gateway: totals, queues, workers and competencies.

A thread of its own reads them for at most a share of the time, so counting a long table delays no prompt. Each total is
exact at the moment of its count.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np

from karma.config.pool import Pool
from karma.config.settings import StreamSettings
from karma.errors import OutageError
from karma.queue.backlog import all_queues, queue_state
from karma.queue.heartbeats import workers
from karma.queue.redis import outages
from karma.ranking.label_error import LabelError
from karma.ranking.snapshot import KIN_COMPARISONS, OVERALL, Snapshot
from karma.store import Store, counting
from karma.store.database import COUNTING_S
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.preference_quality import preference_quality
from karma.store.prompt_states import STATES
from karma.store.streams import StreamGoals, paused
from karma.telemetry import cascade_metrics, metrics
from karma.telemetry.bounded_metrics import Gauge, shown
from karma_monitor.figures.budget import hourly_calls
from karma_monitor.figures.money.budgets import budgets_usd
from karma_monitor.figures.preferences import preference_figures
from karma_monitor.figures.sampling import sampling
from karma_monitor.figures.window import Window
from karma_monitor.judge_series import show_judges
from karma_monitor.pool_metrics import show_budgets, show_hourly_calls, show_limits, show_prices
from karma_monitor.queries import counts
from karma_monitor.refresh import Pace

log = logging.getLogger(__name__)

_EVERY_S = 5.0
_POLL_S = 0.5
#: Share of the time that counting long tables may take, and reading everything else.
_COUNTING_SHARE, _READING_SHARE = 0.005, 0.02
_PAIRS_S = 0.1  # that one reading of new pairs may take

_STAGES = ("generate", "score", "match", "judge")
_SERVICES = ("gateway", "generation", "scoring", "matching", "judging")

T = TypeVar("T")


class LedgerMetrics:
    """Keeps the gauges of a gateway up to date.

    Args:
        store: the ledger's.
        redis: of the queues.
        pool: whose names keep series of their own.
    """

    def __init__(self, store: Store, redis: Any, pool: Pool) -> None:
        self._store, self._redis, self._pool = store, redis, pool
        self._queues = all_queues(pool)
        self._targets = [("generate", name) for name in pool.models] + [("judge", name) for name in pool.judges]
        self._newest = Window(store)
        self._competencies, self._goals = LatestSnapshot(), StreamGoals()
        self._shown_version = -1
        self._actions = (
            ("redis", self.read_redis, Pace(_READING_SHARE, _EVERY_S)),
            ("store", self.read_store, Pace(_READING_SHARE, _EVERY_S)),
            ("store", self.count, Pace(_COUNTING_SHARE, _EVERY_S)),
            ("store", self.read_pairs, Pace(_COUNTING_SHARE, _EVERY_S)),
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-metrics", daemon=True)

    def start(self) -> None:
        """Start reading."""
        pool = self._pool
        metrics.expect(stream=pool.streams, model=pool.models, judge=pool.judges, name=(*pool.models, *pool.judges))
        show_prices(pool)
        self._thread.start()

    def stop(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join(timeout=5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stop.is_set():
            for server, action, pace in self._actions:
                if pace.is_due:
                    self._run_action(server, action, pace)
            self._stop.wait(_POLL_S)

    def _run_action(self, server: str, action: Callable[[], None], pace: Pace) -> None:
        # SQLite runs in this thread: its CPU time does not grow while other processes are busy.
        clock = time.thread_time if self._store.engine.dialect.name == "sqlite" else time.monotonic
        started = clock()
        try:
            action()
        except OutageError as cause:
            metrics.SERVER_UP.labels(server).set(0)
            log.info("metrics wait: %s", cause)
        except Exception:
            log.exception("metrics of the store could not be read; retrying")
        else:
            metrics.SERVER_UP.labels(server).set(1)
        pace.finished(clock() - started)

    def read_redis(self) -> None:
        """Queues, workers and memory."""
        for queue, (length, age) in queue_state(self._redis, self._queues, self._store.clock()).items():
            metrics.QUEUE_LENGTH.labels(queue).set(length)
            metrics.QUEUE_AGE.labels(queue).set(max(0.0, age))
        show_limits(self._redis, self._pool, self._store.clock())
        alive = {(service, state): 0 for service in _SERVICES for state in ("ready", "silent")}
        metrics.WORKERS.show(alive | Counter((info.service, info.state) for info in workers(self._redis)))
        with outages():
            memory = self._redis.info("memory")
        metrics.REDIS_MEMORY.set(memory["used_memory"])
        metrics.REDIS_MEMORY_LIMIT.set(memory.get("maxmemory", 0))

    def read_store(self) -> None:
        """Open work, budgets, size and competencies, whose cost does not grow with the ledger."""
        with self._store.reading() as transaction:
            connection = transaction.ledger.connection
            open_items, oldest = counts.open_items(connection), counts.oldest_batches(connection)
            judged, size = counts.budgeted_pairs(connection), counts.size_bytes(connection)
            stopped = paused(connection)
            budgeted = {stream: self._pool.stream(stream, self._goals.of(connection, stream)) for stream in judged}
            sampled = sampling(connection, self._pool)
            newest, now = self._competencies.newest(transaction), transaction.ledger.now
            hourly, budgets = hourly_calls(connection, self._pool, now), budgets_usd(transaction, self._pool)
        metrics.PAUSED.show({(stream,): 1.0 for stream in stopped})
        samples = {name: model["samples"] for name, model in sampled.items() if model["samples"]}
        same = {(name, "yes"): float(one["identical"]) for name, one in samples.items()}
        others = {(name, "no"): float(one["compared"] - one["identical"]) for name, one in samples.items()}
        metrics.SAMPLES.show(same | others)
        none = {("generate", model): 0 for model in self._pool.models} | {
            ("judge", name): 0 for name in self._pool.judges
        }
        metrics.OPEN_ITEMS.show(none | open_items)
        for stage in _STAGES:
            metrics.OPEN_AGE.labels(stage).set(max(0.0, now - oldest.get(stage, now)))
        self._show_judge_budgets(judged, budgeted)
        show_hourly_calls(hourly)
        show_budgets(budgets)
        metrics.STORE_SIZE.set(size)
        if newest.version != self._shown_version:
            show_competencies(newest)
            self._shown_version = newest.version

    def _show_judge_budgets(
        self, budgeted: Mapping[str, tuple[int, int]], settings_of: Mapping[str, StreamSettings]
    ) -> None:
        pairs: dict[tuple[str, ...], float] = {}
        for stream, (judged, predicted) in budgeted.items():
            pairs |= {(stream, "judged"): judged, (stream, "predicted"): predicted}
            settings = settings_of[stream]
            if settings.judge_share is not None and _has_own_series("stream", stream):
                metrics.JUDGE_BUDGET.labels(stream).set(settings.judge_share)
            if settings.max_label_error is not None and _has_own_series("stream", stream):
                metrics.LABEL_ERROR_LIMIT.labels(stream).set(settings.max_label_error)
        metrics.GATE_PAIRS.show(pairs)

    def count(self) -> None:
        """The totals, each table in a transaction of its own."""
        began = self._store.clock()
        prompts = self._read(counting.prompts_by_state)
        none = {(stream, state): 0 for stream, _state in prompts for state in STATES}
        metrics.PROMPTS.show(none | prompts)
        for gauge, table, valid in (
            (metrics.LEDGER_RESPONSES, "responses", "answered"),
            (metrics.LEDGER_VERDICTS, "verdicts", "valid"),
        ):
            failed = self._read(counting.failed, table)
            gauge.show({(valid,): self._read(counting.rows, table) - failed, ("failed",): failed})
        metrics.LEDGER_PAIRS.set(self._read(counting.rows, "pairs"))
        resolved = self._read(counting.resolutions_by_outcome)
        without_pair = self._read(counting.prompts_without_pair).total()
        metrics.RESOLUTIONS.show(_keyed(counting.outcomes(resolved) | {"no_pair": without_pair}))
        metrics.LEDGER_PREFERENCES.show(_keyed(counting.preferences(resolved)))
        metrics.LEDGER_READ_AT.set(began)

    def read_pairs(self) -> None:
        """The newest pairs, of which only new ones are read."""
        self._newest.renew(_PAIRS_S)
        show_preferences(preference_figures(preference_quality(self._newest)))

    def _read(self, query: Callable[..., T], *arguments: str) -> T:
        with self._store.reading(COUNTING_S) as transaction:
            return query(transaction.ledger.connection, *arguments)


def show_preferences(found: Sequence[Mapping[str, Any]]) -> None:
    """Show lengths, quality and competency of chosen and rejected responses; means cannot be summed up in `other`."""
    own = {(one["stream"], one["label_source"]): one for one in found if _has_own_series("stream", one["stream"])}
    metrics.NEWEST_PREFERENCES.replace({key: one["preferences"] for key, one in own.items()})
    for gauge, of in (
        (metrics.NEWEST_LONGER, {(): "longer_share"}),
        (metrics.NEWEST_LENGTH, {(name,): f"length_log_ratio_{name}" for name in ("mean", "median")}),
        (metrics.NEWEST_QUALITY, {(side,): f"{side}_quality" for side in ("chosen", "rejected")}),
        (metrics.NEWEST_COMPETENCY, {(side,): f"{side}_competency" for side in ("chosen", "rejected")}),
    ):
        known = {(*key, *more): one[name] for key, one in own.items() for more, name in of.items()}
        gauge.replace({key: value for key, value in known.items() if value is not None})


def _show_audits(found: Mapping[str, LabelError], error: Gauge, audited: Gauge) -> None:
    audits = {stream: one for stream, one in found.items() if _has_own_series("stream", stream)}
    audited.replace({(stream,): one.audited for stream, one in audits.items()})
    bounds = ("estimate", "low", "high")
    error.replace({(stream, name): getattr(one, name) for stream, one in audits.items() for name in bounds})


def show_competencies(snapshot: Snapshot) -> None:
    """Show a snapshot. Models beyond the label's limit are left out: their values cannot be summed in `other`."""
    metrics.SNAPSHOT_VERSION.set(snapshot.version)
    metrics.MODEL_GROUPS.set(max(1, len(snapshot.groups)))
    metrics.MISFIT_PAIRS.set(len(snapshot.pair_fit.misfit))
    if snapshot.outcome is not None and snapshot.outcome.calibration_error is not None:
        metrics.OUTCOME_CALIBRATION.set(snapshot.outcome.calibration_error)
    _show_audits(snapshot.audits, metrics.LABEL_ERROR, metrics.LABELS_AUDITED)
    _show_audits(snapshot.cascade_audits, cascade_metrics.FIRST_JUDGE_ERROR, cascade_metrics.FIRST_JUDGE_AUDITED)
    show_judges(snapshot)
    metrics.LABEL_TAIL_ERROR.replace(
        {
            (stream, f"{one.low:g}", bound): value
            for stream in snapshot.audits
            if _has_own_series("stream", stream)
            for one in snapshot.label_tails.get(stream, ())
            for bound, value in (
                ("stated", one.stated),
                ("estimate", one.observed),
                ("low", one.observed_low),
                ("high", one.observed_high),
            )
        }
    )
    models = [model for model in snapshot.models if _has_own_series("model", model)]
    skills = [skill for skill in (OVERALL, *snapshot.skills) if _has_own_series("skill", skill)]
    for gauge, values in (
        (metrics.COMPETENCY_MEAN, lambda skill: snapshot.vector("mean", models, skill)),
        (metrics.COMPETENCY_DEVIATION, lambda skill: snapshot.vector("deviation", models, skill)),
        (metrics.COMPETENCY_COMPARISONS, lambda skill: snapshot.matrix("comparisons", models, skill).sum(axis=1)),
    ):
        columns = {skill: values(skill).tolist() for skill in skills}
        gauge.replace({(model, skill): columns[skill][index] for skill in skills for index, model in enumerate(models)})
    _show_pairs(snapshot, models)


def _show_pairs(snapshot: Snapshot, models: Sequence[str]) -> None:
    kinship = snapshot.matrix("kinship", models, None)
    above = np.triu_indices(len(models), k=1)
    known = zip(*(indices.tolist() for indices in above), strict=True)
    metrics.KINSHIP.replace(
        {(models[x], models[y]): float(kinship[x, y]) for x, y in known if not np.isnan(kinship[x, y])}
    )
    if len(models) > 1:
        compared = snapshot.matrix("comparisons", models, None)[above] >= KIN_COMPARISONS
        metrics.PAIR_COVERAGE.set(float(compared.mean()))


def _has_own_series(label: str, value: str) -> bool:
    return shown(label, value) == value


def _keyed(amounts: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): amount for name, amount in amounts.items()}
