"""A flow whose recording stages show what they recorded, as the workers do."""

from __future__ import annotations

from karma.config.pool import Pool
from karma.messages import Batch, LearnBatch, MatchBatch, ScoreBatch
from karma.store import Store
from karma.store.records import NewResponse
from karma_matching.handlers import Matched
from karma_matching.handlers import match as match_
from karma_matching.pair_metrics import observe
from karma_scoring.handlers import Learned, learn, score
from karma_scoring.recorded_metrics import ScoringMetrics
from tests.support.memory import LIMITS, Flow


class WatchedFlow(Flow):
    """`scored`, `matched` and `learned` keep what was shown, one entry a message."""

    def __init__(self, store: Store, pool: Pool | None = None) -> None:
        super().__init__(store, pool)
        self.metrics = ScoringMetrics(self.pool)
        self.scored: list[list[NewResponse]] = []
        self.matched: list[Matched] = []
        self.learned: list[Learned] = []

    def handle(self, batch: Batch) -> None:
        name = batch.header.stream
        with self.store.transaction() as transaction:
            match batch:
                case ScoreBatch():
                    _stream, responses = score(batch, transaction, lambda _stream: None, LIMITS, "", self.pricing.price)
                case MatchBatch():
                    judges = self.pool.stream_judges(name)
                    stream = self.pool.stream(name)
                    matched = match_(batch, transaction, stream, judges, self.snapshot, LIMITS, self.novelty)
                case LearnBatch():
                    learned = learn(
                        batch,
                        transaction,
                        self.pool.tie_margin,
                        lambda: self.snapshot.outcome,
                        price=self.pricing.price,
                    )
            self.sent.extend(transaction.work.opened)
        match batch:
            case ScoreBatch():
                self.scored.append(responses)
                self.metrics.scored(responses)
            case MatchBatch():
                self.matched.append(matched)
                observe(name, matched)
            case LearnBatch():
                self.learned.append(learned)
                self.metrics.learned(learned)
