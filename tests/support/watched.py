"""A flow whose recording stages show what they recorded, as the workers do."""

from __future__ import annotations

from karma.config.pool import Pool
from karma.messages import Batch, LearnBatch, MatchBatch, ScoreBatch
from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.recorded import Recorded, remembered
from karma_matching.handlers import Formed
from karma_matching.handlers import match as match_
from karma_matching.pair_metrics import observe
from karma_scoring.handlers import Resolved, learn, score
from karma_scoring.recorded_metrics import Observer
from tests.support.memory import LIMITS, Flow


class WatchedFlow(Flow):
    """`answered`, `formed` and `resolved` keep what was shown, one entry a message."""

    def __init__(self, store: Store, pool: Pool | None = None) -> None:
        super().__init__(store, pool)
        self.observer = Observer(self.pool, LatestSnapshot())
        self.answered: list[Recorded] = []
        self.formed: list[tuple[list[Formed], Recorded]] = []
        self.resolved: list[tuple[Recorded, list[Resolved]]] = []

    def handle(self, batch: Batch) -> None:
        name = batch.header.stream
        with self.store.transaction() as transaction:
            watched, recorded = remembered(transaction)
            match batch:
                case ScoreBatch():
                    score(batch, watched, None, LIMITS)
                case MatchBatch():
                    judges = self.pool.stream_judges(name)
                    formed = match_(batch, watched, self.pool.stream(name), judges, self.snapshot, LIMITS, self.novelty)
                case LearnBatch():
                    margin = self.pool.stream(name).tie_margin
                    resolved = learn(batch, watched, margin, lambda: self.snapshot.outcome)
            self.sent.extend(transaction.work.opened)
        match batch:
            case ScoreBatch():
                self.answered.append(recorded)
                self.observer.answers(recorded)
            case MatchBatch():
                self.formed.append((formed, recorded))
                observe(name, formed, recorded)
            case LearnBatch():
                self.resolved.append((recorded, resolved))
                self.observer.verdicts(name, recorded, resolved, self.snapshot)
