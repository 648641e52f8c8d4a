"""Matching's process: wires the handler to the queue `match`."""

from __future__ import annotations

from collections.abc import Callable

from karma import metrics
from karma.competencies import Competencies
from karma.conveyor import Conveyor
from karma.link import Link
from karma.messages import MatchBatch
from karma.pool import Pool
from karma.settings import Environment
from karma.stage import recording
from karma.store import Store, Transaction
from karma.store.records import BatchLimits
from karma.worker import Consumer, configure_logging, run
from karma_matching.handlers import Formed, match


def main(environment: Environment) -> None:
    """Match until SIGTERM."""
    configure_logging(environment.log_level)
    pool = Pool.read(environment.pool_path)
    link = Link.open(environment, pool.pipeline.claim_silence_s)
    store = Store(environment.database_url, environment.durability, link.clock)
    store.watch()
    conveyor = Conveyor("match", store, pool, link.publisher, link.redis, link.clock)
    competencies = Competencies()
    limits = BatchLimits(pool.pipeline.batch_items, pool.pipeline.batch_bytes)

    def handle(batch: MatchBatch, transaction: Transaction) -> Callable[[], None]:
        name = batch.header.stream
        snapshot = competencies.newest(transaction).with_kinship(pool.stream(name).kinship)
        formed = match(batch, transaction, pool.stream(name), pool.stream_judges(name), snapshot, limits)
        return lambda: _observe(name, formed)

    stages = [recording("match", handle, store, conveyor, link)]
    try:
        run(environment, Consumer("matching", ("match",), stages), link)
    finally:
        store.close()


def _observe(stream: str, formed: list[Formed]) -> None:
    for one in formed:
        reasons = one.pair.reasons
        metrics.PAIRS.labels(stream, str(reasons["policy"])).inc()
        if one.spent is not None:
            metrics.PAIRS_GATED.labels(stream, "judged" if one.judged else "predicted").inc()
        for name, histogram in (
            ("kinship", metrics.PAIR_KINSHIP),
            ("gap", metrics.PAIR_GAP),
            ("gap_deviation", metrics.PAIR_GAP_DEVIATION),
            ("information", metrics.PAIR_INFORMATION),
            ("likeness", metrics.PAIR_LIKENESS),
        ):
            value = reasons.get(name)
            if isinstance(value, int | float):
                histogram.labels(stream).observe(abs(value))
