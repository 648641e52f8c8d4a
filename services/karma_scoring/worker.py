"""Scoring's process: wires its handlers to the queues `score` and `learn`, and starts the refit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.config.pricing import Pricing
from karma.config.settings import StreamSettings
from karma.messages import LearnBatch, ScoreBatch
from karma.plugins import checker
from karma.plugins.registry import judge_kind
from karma.queue.outbox import Outbox
from karma.queue.spent import mark_spent
from karma.store import Store, Transaction
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.records import BatchLimits, NewResponse, PromptRow
from karma.telemetry import metrics
from karma.telemetry.logging import configure_logging
from karma.worker.connections import Connections
from karma.worker.process import Consumer, run
from karma.worker.retry import retry_on_outage
from karma.worker.schema import open_store
from karma.worker.stage import recording
from karma_scoring.canaries.drawing import draw_canaries
from karma_scoring.fit.refit import Refitter
from karma_scoring.handlers import Check, Learned, learn, score
from karma_scoring.quality import quality_of
from karma_scoring.recorded_metrics import ScoringMetrics
from karma_scoring.skill_discovery.embedding import Embedder, embedder_name
from karma_scoring.skill_discovery.skill_finder import SkillFinder


def main(environment: Environment) -> None:
    """Score and learn until SIGTERM."""
    configure_logging(environment.log_level, environment.log_format)
    pool = Pool.read(environment.pool_path)
    connections = Connections.open(environment, pool.pipeline.claim_silence_s)
    store = open_store(environment, connections, "scoring")
    metrics.expect(stream=pool.streams, model=pool.models, judge=pool.judges, name=(*pool.models, *pool.judges))
    outbox = Outbox("score", store, pool, connections.publisher, connections.incarnation, connections.clock)
    competencies = LatestSnapshot()
    scoring_metrics = ScoringMetrics(pool)
    limits = BatchLimits(pool.pipeline.batch_items, pool.pipeline.batch_bytes)
    finders = _finders(store, pool)
    verifiers = {name for name, judge in pool.judges.items() if judge_kind(judge.kind).checks_reference}

    pricing = Pricing(pool)

    def handle_score(batch: ScoreBatch, transaction: Transaction, sender: str) -> Callable[[], None]:
        stream, responses = score(batch, transaction, check_of, limits, sender, pricing.price)
        spent = spent_by(transaction, stream)
        return partial(scored, stream, responses, spent)

    def spent_by(transaction: Transaction, stream: str) -> set[str]:
        transaction.spending.write()
        return transaction.spending.exhausted(pool.prices, [stream])

    def check_of(stream: str) -> Check:
        name = pool.stream(stream).checker
        return partial(quality_of, checker(name), name)

    def scored(stream: str, responses: Sequence[NewResponse], spent: set[str]) -> None:
        mark_spent(connections.redis, spent)
        scoring_metrics.scored(responses)
        if responses and pool.stream(stream).skills == "embeddings":
            finder = finders[_embedder_of(pool.stream(stream))]
            prompts = [response.prompt for response in responses]
            retry_on_outage(lambda: finder.find(stream, prompts), "score: skills", connections.shutdown)

    def handle_learn(batch: LearnBatch, transaction: Transaction, _sender: str) -> Callable[[], None]:
        newest = lambda: competencies.newest(transaction).outcome  # noqa: E731 - read only where it is needed
        jury = lambda: competencies.newest(transaction).jury  # noqa: E731
        learned = learn(
            batch, transaction, pool.tie_margin, newest, verifiers, limits, pricing.price, canaries_from, jury
        )
        spent = spent_by(transaction, learned.stream)
        return partial(judged, learned, spent)

    def canaries_from(transaction: Transaction, stream: str, ended: Sequence[PromptRow]) -> None:
        draw_canaries(transaction, stream, ended, pool.stream(stream).canary_share)

    def judged(learned: Learned, spent: set[str]) -> None:
        mark_spent(connections.redis, spent)
        scoring_metrics.learned(learned)

    stages = [
        recording("score", handle_score, store, outbox, connections),
        recording("learn", handle_learn, store, outbox, connections),
    ]
    refitter = Refitter(store, pool)
    refitter.start()
    try:
        run(environment, Consumer("scoring", ("learn", "score"), stages), connections)
    finally:
        refitter.stop()
        store.close()


def _finders(store: Store, pool: Pool) -> dict[tuple[str, str], SkillFinder]:
    """A skill finder per embedder in the pool file, and its revision. Without one of them the worker does not start."""
    streams = (pool.default_stream, *pool.streams.values())
    used = {_embedder_of(settings) for settings in streams if settings.skills == "embeddings"}
    embedders = {one: Embedder(embedder_name(one[0], pool.path), one[1]) for one in sorted(used)}
    return {one: SkillFinder(store, embedder.embed, embedder.dimensions) for one, embedder in embedders.items()}


def _embedder_of(settings: StreamSettings) -> tuple[str, str]:
    return settings.embedder, settings.embedder_revision
