"""Matching's process: wires the handler to the queue `match`."""

from __future__ import annotations

from karma import metrics
from karma.broker import Publisher
from karma.competencies import Competencies
from karma.conveyor import Conveyor
from karma.messages import MatchBatch
from karma.pool import Pool
from karma.settings import Environment
from karma.stage import Stage, recording
from karma.store import Store, Transaction
from karma.store.records import BatchLimits
from karma.worker import Consumer, configure_logging, open_broker, run
from karma_matching.handlers import Formed, match


def main(environment: Environment) -> None:
    """Match until SIGTERM."""
    configure_logging(environment.log_level)
    pool = Pool.read(environment.pool_path)
    store = Store(environment.database_url)
    app, redis, claims = open_broker(environment, pool.pipeline.claim_silence_s)
    conveyor = Conveyor(store, pool, Publisher(app), redis)
    competencies = Competencies()
    limits = BatchLimits(pool.pipeline.batch_items, pool.pipeline.batch_bytes)

    def handle(batch: MatchBatch, transaction: Transaction) -> None:
        name = batch.header.stream
        snapshot = competencies.newest(transaction)
        formed = match(batch, transaction, pool.stream(name), pool.stream_judges(name), snapshot, limits)
        _observe(name, formed)

    stages = {"match": Stage("match", claims, recording(handle, store, conveyor, redis))}
    run(environment, Consumer("matching", ("match",), stages), app, redis, claims)


def _observe(stream: str, formed: list[Formed]) -> None:
    for one in formed:
        reasons = one.pair.reasons
        metrics.PAIRS.labels(stream, str(reasons["policy"])).inc()
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
