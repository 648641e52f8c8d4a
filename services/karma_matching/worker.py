"""Matching's process: wires the handler to the queue `match`."""

from __future__ import annotations

from collections.abc import Callable

from karma import metrics
from karma.competencies import Competencies
from karma.conveyor import Conveyor
from karma.link import Link
from karma.logs import configure_logging
from karma.messages import MatchBatch
from karma.pool import Pool
from karma.settings import Environment
from karma.stage import recording
from karma.store import Store, Transaction
from karma.store.meter import measure
from karma.store.recorded import remembered
from karma.store.records import BatchLimits
from karma.worker import Consumer, run
from karma_matching.handlers import match
from karma_matching.novelty import Novelty
from karma_matching.observed import observe


def main(environment: Environment) -> None:
    """Match until SIGTERM."""
    configure_logging(environment.log_level, environment.log_format)
    pool = Pool.read(environment.pool_path)
    link = Link.open(environment, pool.pipeline.claim_silence_s)
    store = Store(environment.database_url, environment.durability, link.clock)
    store.watch()
    measure(store)
    metrics.expect(stream=pool.streams)
    conveyor = Conveyor("match", store, pool, link.publisher, link.redis, link.clock)
    competencies, novelty = Competencies(), Novelty()
    limits = BatchLimits(pool.pipeline.batch_items, pool.pipeline.batch_bytes)

    def handle(batch: MatchBatch, transaction: Transaction) -> Callable[[], None]:
        name = batch.header.stream
        snapshot = competencies.newest(transaction).with_kinship(pool.stream(name).kinship)
        watched, recorded = remembered(transaction)
        formed = match(batch, watched, pool.stream(name), pool.stream_judges(name), snapshot, limits, novelty)
        return lambda: observe(name, formed, recorded)

    stages = [recording("match", handle, store, conveyor, link)]
    try:
        run(environment, Consumer("matching", ("match",), stages), link)
    finally:
        store.close()
