"""A store in memory (or any other) with prompts at each stage, for tests of handlers on the real schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from karma.config.pool import Pool
from karma.config.pricing import Pricing
from karma.messages import (
    Answer,
    Batch,
    GenerateBatch,
    JudgeBatch,
    LearnBatch,
    MatchBatch,
    ScoreBatch,
    Verdict,
)
from karma.queue.outbox import compose
from karma.ranking.snapshot import Snapshot
from karma.store import Store, Transaction
from karma.store.records import BatchLimits, PromptRow
from karma.store.streams import recorded_goals
from karma_gateway.dispatch import Dispatcher
from karma_gateway.ingest import Line, take
from karma_matching.handlers import match as match_
from karma_matching.novelty import Novelty
from karma_scoring.canaries.drawing import draw_canaries
from karma_scoring.handlers import Check, learn, score

LIMITS = BatchLimits()
ENDPOINT = {"backend": "openai", "base_url": "http://127.0.0.1:1/v1"}


def make_pool(models: str = "abc", both_orders: bool = True, goal: str | None = "label", **tables: dict) -> Pool:
    """Models named by letters and one judge `j`.

    Streams have the goal `label`, which forms one pair a prompt and judges all; `goal` None: none is named.
    """
    stream = {} if goal is None else {"goal": goal}
    return Pool.from_tables(
        {
            "models": {name: {**ENDPOINT, "model": name} for name in models},
            "judges": {"j": {"kind": "openai", "both_orders": both_orders, "model": {**ENDPOINT, "model": "j"}}},
            **tables,
            "stream": {**stream, **tables.get("stream", {})},
        },
        Path("pool.toml"),
    )


class Flow:
    """Drives the handlers of every stage by hand, with what a test wants the models and the judge to say."""

    def __init__(self, store: Store, pool: Pool | None = None) -> None:
        self.store = store
        self.pool = pool or make_pool()
        self.pricing = Pricing(self.pool)
        self.sent: list[str] = []
        self.check: Check | None = None  # of responses against references, in every stream
        self.snapshot, self.novelty = Snapshot.empty(), Novelty()
        self.dispatcher = Dispatcher(store, self.pool, self)  # type: ignore[arg-type]

    def send(self, ids: list[str]) -> None:
        """The outbox that the dispatcher gets."""
        self.sent.extend(ids)

    def accept(self, *prompts: dict, stream: str = "default") -> None:
        lines = [Line("t", place, json.dumps(prompt).encode()) for place, prompt in enumerate(prompts)]
        assert not take(self.store, stream, lines, max_bytes=1 << 20).refused

    def messages(self) -> list[Batch]:
        """The messages of what was sent since the last call."""
        ids, self.sent = self.sent, []
        with self.store.reading() as transaction:
            return compose(transaction, self.pool, ids, "epoch", 1.0)

    def answer(self, batch: GenerateBatch, text: str | None = None, failure: str | None = None) -> ScoreBatch:
        return ScoreBatch(
            header=batch.header,
            items=tuple(
                Answer(
                    item=one.item,
                    prompt=one.prompt,
                    model=batch.model,
                    sample=one.sample,
                    text=None if failure else (text or f"{batch.model} says {one.seed}"),
                    failure=failure,
                )
                for one in batch.items
            ),
        )

    def judge(self, batch: JudgeBatch, probability: float | None = None, failure: str | None = None) -> LearnBatch:
        """Verdicts: `probability` that the first shown is better; by default the longer, then the later text."""

        def opinion(first: str, second: str) -> float:
            return 0.9 if (len(first), first) > (len(second), second) else 0.1

        return LearnBatch(
            header=batch.header,
            items=tuple(
                Verdict(
                    item=one.item,
                    pair=one.pair,
                    prompt=one.prompt,
                    judge=batch.judge,
                    order=one.order,
                    failure=failure,
                    probability=None
                    if failure
                    else (opinion(one.first, one.second) if probability is None else probability),
                )
                for one in batch.items
            ),
        )

    def handle(self, batch: Batch) -> None:
        """One delivery of a message to a recording stage."""
        with self.store.transaction() as transaction:
            match batch:
                case ScoreBatch():
                    score(batch, transaction, lambda _stream: self.check, LIMITS, price=self.pricing.price)
                case MatchBatch():
                    recorded = recorded_goals(transaction.ledger.connection, [batch.header.stream])
                    stream = self.pool.stream(batch.header.stream, recorded[batch.header.stream])
                    judges = self.pool.stream_judges(batch.header.stream)
                    match_(batch, transaction, stream, judges, self.snapshot, LIMITS, self.novelty)
                case LearnBatch():
                    model, jury = (lambda: self.snapshot.outcome), (lambda: self.snapshot.jury)
                    price, draw = self.pricing.price, self._draw_canaries
                    learn(batch, transaction, outcome_model=model, price=price, draw_canaries=draw, jury=jury)
                case _:
                    raise AssertionError(f"no recording stage takes {type(batch).__name__}")
            self.sent.extend(transaction.work.opened)

    def _draw_canaries(self, transaction: Transaction, stream: str, ended: Sequence[PromptRow]) -> None:
        draw_canaries(transaction, stream, ended, self.pool.stream(stream).canary_share)

    def finish(self, deliveries: int = 1) -> None:
        """Run everything to its end, each message delivered so many times."""
        while self.dispatcher.admit() or self.sent:
            for batch in self.messages():
                result = batch
                if isinstance(batch, GenerateBatch):
                    result = self.answer(batch)
                elif isinstance(batch, JudgeBatch):
                    result = self.judge(batch)
                for _delivery in range(deliveries):
                    self.handle(result)
