"""Matching's process: connects the handler to the queue `match`."""

from __future__ import annotations

from collections.abc import Callable

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.messages import MatchBatch
from karma.queue.outbox import Outbox
from karma.store import Transaction
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.records import BatchLimits
from karma.store.streams import StreamGoals
from karma.telemetry import metrics
from karma.telemetry.logging import configure_logging
from karma.worker.connections import Connections
from karma.worker.process import Consumer, run
from karma.worker.schema import open_store
from karma.worker.stage import recording
from karma_matching.handlers import match
from karma_matching.novelty import Novelty
from karma_matching.pair_metrics import observe


def main(environment: Environment) -> None:
    """Match until SIGTERM."""
    configure_logging(environment.log_level, environment.log_format)
    pool = Pool.read(environment.pool_path)
    connections = Connections.open(environment, pool.pipeline.claim_silence_s)
    store = open_store(environment, connections, "matching")
    metrics.expect(stream=pool.streams)
    outbox = Outbox("match", store, pool, connections.publisher, connections.incarnation, connections.clock)
    competencies, goals, novelty = LatestSnapshot(), StreamGoals(), Novelty()
    limits = BatchLimits(pool.pipeline.batch_items, pool.pipeline.batch_bytes)

    def handle(batch: MatchBatch, transaction: Transaction, _sender: str) -> Callable[[], None]:
        name = batch.header.stream
        stream = pool.stream(name, goals.of(transaction.ledger.connection, name))
        snapshot = competencies.newest(transaction).with_kinship(stream.kinship)
        matched = match(batch, transaction, stream, pool.stream_judges(name), snapshot, limits, novelty)
        return lambda: observe(name, matched)

    stages = [recording("match", handle, store, outbox, connections)]
    try:
        run(environment, Consumer("matching", ("match",), stages), connections)
    finally:
        store.close()
