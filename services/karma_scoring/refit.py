"""The refit: competency counts in, a new snapshot out, whenever enough was learnt. One at a time is enough."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from karma import metrics
from karma.errors import OutageError
from karma.faults import reach
from karma.pool import Pool
from karma.snapshot import OVERALL, Snapshot
from karma.store import Store
from karma.store.records import Count
from karma_scoring.competency import Counts, Prior, fit
from karma_scoring.handlers import BUCKET_S
from karma_scoring.kinship import snapshot

log = logging.getLogger(__name__)

#: While verdicts pour in, a refit waits until this share of new ones has come: it would change nothing that matters.
_GROWTH = 0.02


@dataclass(frozen=True)
class Evidence:
    """Counts as arrays, faded by age, with the names that their indices stand for."""

    counts: Counts
    models: tuple[str, ...]
    skills: tuple[str, ...]


def evidence(rows: Sequence[Count], pool_models: Sequence[str], now: float, half_life_h: float) -> Evidence:
    """Weigh each bucket by 2^(−age / half-life) and put names into indices."""
    models = tuple(sorted({*pool_models, *(row.model_a for row in rows), *(row.model_b for row in rows)}))
    skills = tuple(sorted({row.skill for row in rows if row.skill}))
    model_index = {model: index for index, model in enumerate(models)}
    skill_index = {skill: index for index, skill in enumerate(skills)}
    bucket_now = now / BUCKET_S
    fade = np.array([0.5 ** (max(0.0, bucket_now - row.bucket - 1) / half_life_h) for row in rows])
    counts = Counts(
        skill=np.array([skill_index.get(row.skill, -1) for row in rows], dtype=np.int64),
        first=np.array([model_index[row.model_a] for row in rows], dtype=np.int64),
        second=np.array([model_index[row.model_b] for row in rows], dtype=np.int64),
        wins_first=np.array([row.wins_a for row in rows], dtype=np.float64) * fade,
        wins_second=np.array([row.wins_b for row in rows], dtype=np.float64) * fade,
        ties=np.array([row.ties for row in rows], dtype=np.float64) * fade,
    )
    return Evidence(counts, models, skills)


class Refitter:
    """Refits from a thread of its own. Several workers may each have one: the first to write a version wins."""

    def __init__(self, store: Store, pool: Pool) -> None:
        self._store = store
        self._pool = pool
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refit", daemon=True)
        self._seen = -1.0  # weight of the counts at the last look

    def start(self) -> None:
        """Begin looking every `refit_every_s`."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and refit once more if anything was learnt since."""
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(self._pool.pipeline.refit_every_s):
            try:
                self.look()
            except OutageError as cause:
                log.warning("the refit waits: %s", cause)
            except Exception:
                log.exception("the refit failed; it is tried again in %s s", self._pool.pipeline.refit_every_s)

    def look(self) -> Snapshot | None:
        """Refit if enough was learnt since the newest snapshot, or if something was and no more is coming."""
        with self._store.reading() as transaction:
            weight = transaction.preferences.counted_verdicts()
            version, known = transaction.preferences.latest_version()
        quiet, self._seen = weight == self._seen, weight
        if weight <= known or not (quiet or weight >= known * (1 + _GROWTH) + 1):
            return None
        return self.refit(version + 1)

    def refit(self, version: int) -> Snapshot:
        """Fit all counts and keep the result as `version`."""
        with self._store.reading() as transaction:
            rows = transaction.preferences.counts()
        now = self._store.clock()
        seen = evidence(rows, tuple(self._pool.models), now, self._pool.pipeline.half_life_h)
        parents = {child: parent for child, parent in self._pool.parents.items() if parent in seen.models}
        result = snapshot(fit(seen.counts, seen.models, seen.skills, Prior(parents=parents)), version)
        weight = sum(row.wins_a + row.wins_b + row.ties for row in rows)
        with self._store.transaction() as transaction:
            transaction.preferences.add_snapshot(version, weight, result.to_bytes())
            reach("refit.before_commit")
        reach("refit.after_commit")
        show(result)
        return result


def show(result: Snapshot) -> None:
    """Put a snapshot's competencies into the metrics."""
    metrics.SNAPSHOT_VERSION.set(result.version)
    for skill in (OVERALL, *result.skills):
        means = result.vector("mean", result.models, skill)
        deviations = result.vector("deviation", result.models, skill)
        for model, mean, deviation in zip(result.models, means, deviations, strict=True):
            metrics.COMPETENCY_MEAN.labels(model, skill).set(mean)
            metrics.COMPETENCY_DEVIATION.labels(model, skill).set(deviation)
