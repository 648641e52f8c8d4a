"""The refit: fits the competency counts and stores the result as a new snapshot."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from karma.config.pool import Pool
from karma.errors import OutageError
from karma.queue.fault_injection import reach
from karma.ranking.common_change import CommonChange
from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import from_bytes, to_bytes
from karma.store import Store
from karma.store.preferences import Preferences
from karma.store.records import Count
from karma.telemetry import metrics
from karma_scoring.fit.benchmarks import mean_z_scores
from karma_scoring.fit.changes.common_change import with_new
from karma_scoring.fit.changes.drift import Change, fit_with_drift, last_changes, without_former
from karma_scoring.fit.competency import Posterior
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.judges.cascades import Cascades
from karma_scoring.fit.judges.jury_weights import JuryWeights
from karma_scoring.fit.judges.own_models import SelfPreferences
from karma_scoring.fit.judges.second_orders import SecondOrders
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.pair_residuals import pair_fit
from karma_scoring.fit.predictions.judge_budget import BudgetInputReader
from karma_scoring.fit.predictions.win_calibration import calibrated_tail
from karma_scoring.fit.time_buckets import BUCKET_S, bucket_at, coarse, merges

log = logging.getLogger(__name__)

#: While verdicts keep arriving, a refit is due after this share of new ones; earlier, hardly a value would change.
_GROWTH = 0.02
#: It is also due after this many new verdicts per model, so that a model that changes is noticed soon.
_NEW_PER_MODEL = 50
#: Share of the time that refits for the latter reason may take.
_TIME_SHARE = 0.05
#: Share of a sum of weights that may be a rounding error.
_ROUNDING = 1e-9
#: Counts are merged into wider buckets once this share of them can be.
_MERGEABLE_SHARE = 0.25


class Refitter:
    """Refits in a thread. Of several workers' refits of a version, the first to be stored wins."""

    def __init__(self, store: Store, pool: Pool) -> None:
        self._store = store
        self._pool = pool
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refit", daemon=True)
        self._budget_inputs = BudgetInputReader(pool.aliases, lambda stream: pool.stream(stream).max_label_error)
        self._self_preferences = SelfPreferences(pool)
        self._second_orders = SecondOrders(pool)
        self._cascades = Cascades(pool)
        self._jury = JuryWeights(pool)
        self._last_weight = -1.0  # of the counts at the last check
        self._posterior: Posterior | None = None  # of the last refit: where the next one starts
        self._common: tuple[int, tuple[CommonChange, ...]] = (0, ())  # version of a snapshot, its common changes
        self._early_refit_at = 0.0  # the next one for `_NEW_PER_MODEL` at the earliest, by the monotonic clock

    def start(self) -> None:
        """Begin to check every `refit_every_s`."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; counts since the last refit stay in the store for the next one."""
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(self._pool.pipeline.refit_every_s):
            began = time.monotonic()
            try:
                self.refit_if_due()
            except OutageError as cause:
                log.warning("the refit waits: %s", cause)
            except Exception:
                metrics.REFIT_SECONDS.labels("failed").observe(time.monotonic() - began)
                log.exception("the refit failed; the next attempt is in %s s", self._pool.pipeline.refit_every_s)

    def refit_if_due(self) -> Snapshot | None:
        """Refit if enough verdicts arrived since the newest snapshot, or if some did and no more are arriving."""
        with self._store.reading() as transaction:
            weight = transaction.preferences.counted_verdicts()
            version, known = transaction.preferences.latest_version()
        quiet, self._last_weight = weight == self._last_weight, weight
        new = weight - known
        if abs(new) <= _ROUNDING * known:
            return None
        if new < 0.0:  # a migration counted the verdicts anew
            return self.refit(version + 1)
        many = new >= _NEW_PER_MODEL / 2 * len(self._pool.models) and time.monotonic() >= self._early_refit_at
        return self.refit(version + 1) if quiet or many or new >= known * _GROWTH + 1 else None

    def refit(self, version: int) -> Snapshot:
        """Fit all counts and store the result as `version`."""
        began = time.monotonic()
        pool = self._pool
        self._join_renamed()
        with self._store.reading() as transaction:
            rows = transaction.preferences.counts()
            weight = sum(row.wins_a + row.wins_b + row.ties for row in rows)
        now = self._store.clock()
        weighted = evidence(rows, tuple(pool.models), now, pool.pipeline.half_life_h)
        z_scores, known = mean_z_scores(pool.benchmarks), self._common_changes()
        fitted = fit_with_drift(weighted, pool.parents, z_scores, self._posterior, known)
        self._posterior = fitted.posterior
        with self._store.reading() as transaction:
            budget = self._budget_inputs.read(transaction, weight, bool(fitted.changes))
            judged = self._self_preferences.read(transaction)
            second_orders = self._second_orders.fit(transaction)
            cascades = self._cascades.fit(transaction)
            jury = self._jury.fit(transaction)
        changed = last_changes(fitted.posterior.models)
        explained = pair_fit(fitted.counts, fitted.posterior)
        result = snapshot(without_former(fitted.posterior), version, pool.benchmarks, explained)
        common, new_common = with_new(known, fitted.common, now)
        result = replace(
            result,
            outcome=budget.outcome(result, changed),
            labels=budget.labels(result, changed),
            audits=budget.audits,
            label_limits=budget.label_limits,
            label_tails=budget.label_tails,
            win_tail=calibrated_tail(weighted, result),
            self_preference=self._self_preferences.measure(judged, changed),
            common_changes=common,
            second_orders=second_orders,
            cascades=cascades.rules,
            cascade_audits=cascades.audits,
            jury=jury,
        )
        with self._store.transaction() as transaction:
            is_first = transaction.preferences.add_snapshot(version, weight, to_bytes(result))
            if is_first:
                _record_changes(transaction.preferences, fitted.changes)
                _compact(transaction.preferences, rows, bucket_at(now))
            reach("refit.before_commit")
        reach("refit.after_commit")
        metrics.REFIT_SECONDS.labels("kept" if is_first else "late").observe(time.monotonic() - began)
        for change in fitted.changes if is_first else ():
            metrics.COMPETENCY_CHANGES.labels(change.model).inc()
        if is_first:
            self._common = version, common
            _report_common(new_common)
        self._early_refit_at = time.monotonic() + (time.monotonic() - began) / _TIME_SHARE
        return result

    def _common_changes(self) -> tuple[CommonChange, ...]:
        """The common changes that the newest snapshot knows."""
        with self._store.reading() as transaction:
            newer = transaction.preferences.latest_snapshot(newer_than=self._common[0])
        if newer is not None:
            found = from_bytes(newer[2])
            self._common = found.version, found.common_changes
        return self._common[1]

    def _join_renamed(self) -> None:
        """Assign the counts under earlier names of the pool's models to their present names."""
        if not self._pool.aliases:
            return
        with self._store.transaction() as transaction:
            for alias in sorted(self._pool.aliases):
                transaction.preferences.rename_counts(alias, self._pool.aliases[alias])


def _record_changes(preferences: Preferences, changes: Sequence[Change]) -> None:
    for change in changes:
        log.warning(
            "the competency of %s changed at %s (log Bayes factor %.1f); its earlier verdicts no longer count for it",
            *(change.model, datetime.fromtimestamp(change.bucket * BUCKET_S, UTC), change.log_bayes_factor),
        )
        preferences.rename_counts(change.model, change.former, change.bucket)


def _report_common(changes: Sequence[CommonChange]) -> None:
    for change in changes:
        log.warning(
            "all competencies seemed to change at %s (%s; log Bayes factor %.1f): a judge or the topics of prompts may "
            "have changed; no model is held to have changed",
            *(datetime.fromtimestamp(change.at, UTC), change.kind, change.log_bayes_factor),
        )
        metrics.COMMON_CHANGES.labels(change.kind).inc()


def _compact(preferences: Preferences, rows: Sequence[Count], now: int) -> None:
    """Merge old counts and drop old snapshots, so that their number grows with the logarithm of time only."""
    mergeable = merges((row.bucket for row in rows), now)
    if sum(row.bucket in mergeable for row in rows) > _MERGEABLE_SHARE * len(rows):
        preferences.merge_counts(mergeable)
    preferences.drop_snapshots(_redundant(preferences.snapshot_times(), now))


def _redundant(kept: Sequence[tuple[int, float]], now: int) -> list[int]:
    """All versions but the first of each bucket and the newest."""
    first: dict[int, int] = {}
    for version, created_at in kept:
        first.setdefault(coarse(bucket_at(created_at), now), version)
    return [version for version, _ in kept[:-1] if version not in first.values()]
