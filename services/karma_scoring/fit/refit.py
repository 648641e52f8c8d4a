"""The refit: competency counts in, a new snapshot out, whenever enough was learnt. One at a time is enough."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from karma.config.pool import Pool
from karma.errors import OutageError
from karma.fault_injection import reach
from karma.ranking.snapshot import Snapshot
from karma.store import Store
from karma.store.preferences import Preferences
from karma.store.records import Count
from karma.telemetry import metrics
from karma_scoring.fit.benchmarks import standings
from karma_scoring.fit.competency import Posterior
from karma_scoring.fit.drift import Change, without_former
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.judge_budget import GatedReader
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.learning import learn_from
from karma_scoring.fit.time_buckets import BUCKET_S, bucket_at, coarse, merges

log = logging.getLogger(__name__)

#: While verdicts pour in, a refit waits until this share of new ones has come: it would change nothing that matters.
_GROWTH = 0.02
#: … and at the latest when so many have come for each model, so that one that changes is followed.
_NEW_PER_MODEL = 50
#: Share of the time that refits for the latter reason may take.
_TIME_SHARE = 0.05
#: Counts of buckets that are part of a wider one by now are merged when they make up this share of all.
_STALE = 0.25


class Refitter:
    """Refits from a thread of its own. Several workers may each have one: the first to write a version wins."""

    def __init__(self, store: Store, pool: Pool) -> None:
        self._store = store
        self._pool = pool
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refit", daemon=True)
        self._gated = GatedReader()
        self._seen = -1.0  # weight of the counts at the last look
        self._learnt: Posterior | None = None  # of the last refit: where the next one begins
        self._rested_at = 0.0  # by the monotonic clock

    def start(self) -> None:
        """Begin looking every `refit_every_s`."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; what was learnt since the last refit is in the store for the next one."""
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(self._pool.pipeline.refit_every_s):
            began = time.monotonic()
            try:
                self.look()
            except OutageError as cause:
                log.warning("the refit waits: %s", cause)
            except Exception:
                metrics.REFIT_SECONDS.labels("failed").observe(time.monotonic() - began)
                log.exception("the refit failed; it is tried again in %s s", self._pool.pipeline.refit_every_s)

    def look(self) -> Snapshot | None:
        """Refit if enough was learnt since the newest snapshot, or if something was and no more is coming."""
        with self._store.reading() as transaction:
            weight = transaction.preferences.counted_verdicts()
            version, known = transaction.preferences.latest_version()
        quiet, self._seen = weight == self._seen, weight
        new = weight - known
        if new < 0.5:  # each verdict weighs 1 at least; below are sums in another order
            return None
        many = new >= _NEW_PER_MODEL / 2 * len(self._pool.models) and time.monotonic() >= self._rested_at
        return self.refit(version + 1) if quiet or many or new >= known * _GROWTH + 1 else None

    def refit(self, version: int) -> Snapshot:
        """Fit all counts and keep the result as `version`."""
        began = time.monotonic()
        pool = self._pool
        with self._store.reading() as transaction:
            rows = transaction.preferences.counts()
            weight = sum(row.wins_a + row.wins_b + row.ties for row in rows)
            gated = self._gated.read(transaction, weight)
        now = self._store.clock()
        seen = evidence(rows, tuple(pool.models), now, pool.pipeline.half_life_h)
        learnt = learn_from(seen, pool.parents, standings(pool.benchmarks), self._learnt)
        self._learnt = learnt.posterior
        result = snapshot(without_former(learnt.posterior), version, benchmarks=pool.benchmarks)
        result = replace(result, outcome=gated.outcome(result), audits=gated.audits)
        with self._store.transaction() as transaction:
            is_first = transaction.preferences.add_snapshot(version, weight, result.to_bytes())
            if is_first:
                _keep_house(transaction.preferences, learnt.changes, rows, now)
            reach("refit.before_commit")
        reach("refit.after_commit")
        metrics.REFIT_SECONDS.labels("kept" if is_first else "late").observe(time.monotonic() - began)
        for change in learnt.changes if is_first else ():
            metrics.COMPETENCY_CHANGES.labels(change.model).inc()
        self._rested_at = time.monotonic() + (time.monotonic() - began) / _TIME_SHARE
        return result


def _keep_house(preferences: Preferences, found: Sequence[Change], rows: Sequence[Count], now: float) -> None:
    """Remember which models changed, and let what is old take less room."""
    for change in found:
        log.warning(
            "%s is no longer the model that it was: its verdicts since %s tell of another competency (log Bayes factor "
            "%.1f). Those before no longer count for it",
            *(change.model, datetime.fromtimestamp(change.bucket * BUCKET_S, UTC), change.log_bayes_factor),
        )
        preferences.rename_counts(change.model, change.former, change.bucket)
    stale = merges((row.bucket for row in rows), bucket_at(now))
    if sum(row.bucket in stale for row in rows) > _STALE * len(rows):
        preferences.merge_counts(stale)
    preferences.drop_snapshots(_surplus(preferences.snapshot_times(), bucket_at(now)))


def _surplus(kept: Sequence[tuple[int, float]], now: int) -> list[int]:
    """Versions that are as old as others: of those before the newest, the first of each bucket stays."""
    surplus: list[int] = []
    seen: set[int] = set()
    for version, created_at in kept[:-1]:
        bucket = coarse(bucket_at(created_at), now)
        if bucket in seen:
            surplus.append(version)
        seen.add(bucket)
    return surplus
