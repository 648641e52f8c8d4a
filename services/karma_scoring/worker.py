"""Scoring's process: wires its handlers to the queues `score` and `learn`, and keeps the refit going."""

from __future__ import annotations

from collections.abc import Callable

from karma import metrics
from karma.checkers import checker
from karma.competencies import Competencies
from karma.conveyor import Conveyor
from karma.link import Link
from karma.messages import LearnBatch, ScoreBatch
from karma.patience import patiently
from karma.pool import Pool
from karma.settings import Environment
from karma.stage import recording
from karma.store import Store, Transaction
from karma.store.records import BatchLimits
from karma.worker import Consumer, configure_logging, run
from karma_scoring.embedding import Embedder, embedder_name
from karma_scoring.handlers import Resolved, learn, score
from karma_scoring.refit import Refitter
from karma_scoring.resolution import side
from karma_scoring.skills import SkillFinder


def main(environment: Environment) -> None:
    """Score and learn until SIGTERM."""
    configure_logging(environment.log_level)
    pool = Pool.read(environment.pool_path)
    link = Link.open(environment, pool.pipeline.claim_silence_s)
    store = Store(environment.database_url, environment.durability, link.clock)
    store.watch()
    conveyor = Conveyor("score", store, pool, link.publisher, link.redis, link.clock)
    competencies = Competencies()
    limits = BatchLimits(pool.pipeline.batch_items, pool.pipeline.batch_bytes)
    finders = _finders(store, pool)
    verifiers = {name for name, judge in pool.judges.items() if judge.kind == "verifier"}

    def handle_score(batch: ScoreBatch, transaction: Transaction) -> Callable[[], None]:
        is_right = checker(pool.stream(batch.header.stream).checker)
        score(batch, transaction, lambda text, reference: float(is_right(text, reference)), limits)
        return lambda: recorded(batch)

    def recorded(batch: ScoreBatch) -> None:
        _observe_answers(batch)
        stream = batch.header.stream
        if pool.stream(stream).skills == "embeddings":
            finder = finders[pool.stream(stream).embedder]
            prompts = [answer.prompt for answer in batch.items]
            patiently(lambda: finder.find(stream, prompts), "score: skills", link.stopping)

    def handle_learn(batch: LearnBatch, transaction: Transaction) -> Callable[[], None]:
        margin = pool.stream(batch.header.stream).tie_margin
        resolved = learn(batch, transaction, margin, lambda: competencies.newest(transaction).outcome, verifiers)
        return lambda: _observe_verdicts(batch, resolved)

    stages = [
        recording("score", handle_score, store, conveyor, link),
        recording("learn", handle_learn, store, conveyor, link),
    ]
    refitter = Refitter(store, pool)
    refitter.start()
    try:
        run(environment, Consumer("scoring", ("learn", "score"), stages), link)
    finally:
        refitter.stop()
        store.close()


def _finders(store: Store, pool: Pool) -> dict[str, SkillFinder]:
    """A finder of skills per embedder that a stream names; where one cannot be loaded, the worker does not start."""
    streams = (pool.default_stream, *pool.streams.values())
    wanted = {settings.embedder for settings in streams if settings.skills == "embeddings"}
    embedders = {name: Embedder(embedder_name(name, pool.path)) for name in sorted(wanted)}
    return {name: SkillFinder(store, one.embed, one.dimensions) for name, one in embedders.items()}


def _observe_answers(batch: ScoreBatch) -> None:
    for answer in batch.items:
        metrics.RESPONSES.labels(answer.model, "failed" if answer.failure else "answered").inc()
        _observe_call("generate", answer.model, answer.latency_s, answer.tokens_in, answer.tokens_out)


def _observe_verdicts(batch: LearnBatch, resolved: list[Resolved]) -> None:
    _observe_resolutions(resolved)
    for verdict in batch.items:
        metrics.VERDICTS.labels(verdict.judge, "failed" if verdict.failure else "valid").inc()
        _observe_call("judge", verdict.judge, verdict.latency_s, verdict.tokens_in, verdict.tokens_out)
        if verdict.probability is not None and side(verdict.probability) != "none":
            place = "first" if verdict.probability > 0.5 else "second"
            metrics.FIRST_POSITION.labels(verdict.judge, place).inc()


def _observe_call(kind: str, name: str, latency_s: float | None, tokens_in: int | None, tokens_out: int | None) -> None:
    if latency_s is not None:
        metrics.CALL_SECONDS.labels(kind, name).observe(latency_s)
    for direction, tokens in (("in", tokens_in), ("out", tokens_out)):
        if tokens:
            metrics.TOKENS.labels(kind, name, direction).inc(tokens)


def _observe_resolutions(resolved: list[Resolved]) -> None:
    for one in resolved:
        resolution = one.resolution
        metrics.PAIRS_RESOLVED.labels(one.stream, resolution.outcome).inc()
        if resolution.flipped is not None:
            metrics.PAIRS_BOTH_ORDERS.labels(one.stream).inc()
            metrics.PAIRS_FLIPPED.labels(one.stream).inc(int(resolution.flipped))
        if resolution.outcome == "decisive" and resolution.probability is not None:
            _observe_preference(one, resolution.probability)


def _observe_preference(one: Resolved, probability: float) -> None:
    pair, a_is_chosen = one.pair, one.resolution.a_is_chosen
    metrics.PREFERENCE_PROBABILITY.labels(one.stream).observe(max(probability, 1 - probability))
    chosen, rejected = (pair.length_a, pair.length_b) if a_is_chosen else (pair.length_b, pair.length_a)
    longer = "longer" if chosen > rejected else "shorter" if chosen < rejected else "equal"
    metrics.LONGER_CHOSEN.labels(one.stream, longer).inc()
    metrics.LENGTH_RATIO.labels(one.stream).observe(chosen / max(1, rejected))
    if pair.gap:
        metrics.PRIOR_AGREEMENT.labels(one.stream, "yes" if (pair.gap > 0) == a_is_chosen else "no").inc()
