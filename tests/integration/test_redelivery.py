"""Every message twice and in any order: what comes of it is what comes of a clean run, ids and times aside."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

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
from karma.ranking.snapshot_archive import to_bytes
from karma.seeds import seed_of
from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.records import BatchLimits
from karma.store.schema import metadata
from karma_matching.handlers import match
from karma_matching.novelty import Novelty
from karma_scoring.fit.competency import Counts, Prior, fit
from karma_scoring.fit.kinship import snapshot
from karma_scoring.handlers import learn, score
from tests.support.memory import Flow, make_pool

LIMITS = BatchLimits(items=5)
MODELS = "abcd"
POOL = make_pool(
    MODELS,
    stream={"responses_per_prompt": 0, "policy": "all-pairs", "pairs_per_prompt": 0},
    pipeline={"batch_items": LIMITS.items},
)
#: Of two streams, with and without a skill, with the answers of the pool and with answers of their own.
PROMPTS: Sequence[tuple[str, dict[str, Any]]] = [
    *(("default", {"id": f"p{n}", "prompt": f"question {n}", "skill": "x" if n % 2 else None}) for n in range(6)),
    *(("other", {"id": f"p{n}", "prompt": f"question {n}"}) for n in range(3)),
    ("other", {"id": "given", "prompt": "?", "responses": {"a": "yes", "e": "no", "f": "", "g": "Yes"}}),
    ("other", {"id": "two of one", "prompt": "?", "responses": [{"model": "e", "text": text} for text in ("1", "2")]}),
]

Side = tuple[str, int]


class Run(Flow):
    """A run on an empty store in which the competencies are known and stay as they are."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, POOL)
        self._competencies, self._novelty = LatestSnapshot(), Novelty()
        wins, losses, ties = np.random.default_rng(5).uniform(0, 30, (3, 6))
        first, second = np.triu_indices(len(MODELS), 1)
        posterior = fit(Counts(np.zeros(6, dtype=int), first, second, wins, losses, ties), MODELS, ["x"], Prior())
        with store.transaction() as transaction:
            for table in reversed(metadata.sorted_tables):
                transaction.ledger.connection.execute(table.delete())
            transaction.preferences.add_snapshot(1, 1.0, to_bytes(snapshot(posterior, 1)))

    def go(self, deliveries: int = 1, rng: random.Random | None = None) -> None:
        """Deliver every message so many times; `rng` puts off each delivery and parts results as it likes."""
        for stream in ("default", "other"):
            self.accept(*(prompt for name, prompt in PROMPTS if name == stream), stream=stream)
        self.dispatcher.admit()
        flying: list[Batch] = []
        while True:
            flying += self.messages() * deliveries
            if not flying:
                break
            message = flying.pop(rng.randrange(len(flying)) if rng else 0)
            if isinstance(message, GenerateBatch | JudgeBatch):
                flying += _parts(self.work(message), rng) * deliveries
            else:
                self.handle(message)

    def work(self, batch: GenerateBatch | JudgeBatch) -> ScoreBatch | LearnBatch:
        """A model or the judge: what it says depends on what it is shown and on nothing else."""
        if isinstance(batch, JudgeBatch):
            return LearnBatch(header=batch.header, items=tuple(_verdict(batch.judge, one) for one in batch.items))
        return ScoreBatch(header=batch.header, items=tuple(_answer(batch.model, one) for one in batch.items))

    def handle(self, batch: Batch) -> None:
        with self.store.transaction() as transaction:
            if isinstance(batch, ScoreBatch):
                score(batch, transaction, lambda _stream: None, LIMITS)
            elif isinstance(batch, LearnBatch):
                learn(batch, transaction)
            else:
                assert isinstance(batch, MatchBatch)
                stream, judges = POOL.stream(batch.header.stream), POOL.stream_judges(batch.header.stream)
                snapshot = self._competencies.newest(transaction)
                match(batch, transaction, stream, judges, snapshot, LIMITS, self._novelty)
            self.sent.extend(transaction.work.opened)


def _parts(batch: ScoreBatch | LearnBatch, rng: random.Random | None) -> list[Batch]:
    cut = rng.randrange(len(batch.items)) if rng else 0
    return [replace(batch, items=items) for items in (batch.items[:cut], batch.items[cut:]) if items]


def _answer(model: str, one: Any) -> Answer:
    text: str | None = f"{model} says {one.seed}"
    text, failure = {0: (None, "timed out"), 1: (" ", None), 2: ("the same", None)}.get(one.seed % 8, (text, None))
    return Answer(item=one.item, prompt=one.prompt, model=model, sample=one.sample, text=text, failure=failure)


def _verdict(judge: str, one: Any) -> Verdict:
    said = seed_of(one.messages[-1].content, one.first, one.second) % 12
    failure = "no verdict was found" if said < 4 else None
    probability = None if failure else {4: 0.5, 5: 0.5, 6: 1.5}.get(said, 0.9 if one.first < one.second else 0.2)
    key = {"item": one.item, "pair": one.pair, "prompt": one.prompt, "order": one.order}
    return Verdict(judge=judge, probability=probability, failure=failure, **key)


def contents(store: Store) -> dict[str, list[Any]]:
    """All that the store holds, sorted and under natural keys. Which response of a pair is a and which is b comes from
    their ids: here it is the models' order."""
    with store.reading() as transaction:

        def rows(table: str) -> list[Any]:
            return list(transaction.ledger.connection.exec_driver_sql(f"SELECT * FROM {table}"))

        prompts = {row.id: (row.stream, row.prompt_id) for row in rows("prompts")}
        sides: dict[int | None, Side | None] = {row.id: (row.model, row.sample) for row in rows("responses")}
        sides[None] = None
        pairs = {row.id: row for row in rows("pairs")}
        turned = {id_: sides[row.response_a] > sides[row.response_b] for id_, row in pairs.items()}
        names = {
            id_: (*prompts[row.prompt], *sorted([sides[row.response_a], sides[row.response_b]]))
            for id_, row in pairs.items()
        }
        found = {
            "prompts": [(prompts[row.id], row.state, row.awaited, row.no_pair, row.error) for row in rows("prompts")],
            "responses": [
                (prompts[row.prompt], sides[row.id], row.text, row.failure, row.features, row.quality)
                for row in rows("responses")
            ],
            "pairs": [
                (
                    *(names[row.id], row.policy, row.awaited, row.judged_probability, row.snapshot),
                    *(row.kinship, _turned(row.gap, turned[row.id], 0), row.gap_deviation, row.information),
                    *(round(row.likeness, 9), row.novelty),
                    json.loads(row.reasons)["why"],
                )
                for row in pairs.values()
            ],
            "verdicts": [
                (names[row.pair], row.judge, row.shown != turned[row.pair], row.probability, row.failure)
                for row in rows("verdicts")
            ],
            "resolutions": [
                (
                    *(names[row.pair], row.outcome, sides[row.chosen], sides[row.rejected]),
                    *(_turned(row.probability, turned[row.pair], 1), row.flipped, row.label_source, row.reason),
                )
                for row in rows("resolutions")
            ],
            "counts": [
                (row.source, row.skill, row.model_a, row.model_b, *(round(sum_, 9) for sum_ in row[5:8]))
                for row in rows("competency_counts")
            ],
            "open": rows("work_items"),
        }
    return {what: sorted(each, key=repr) for what, each in found.items()}


def _turned(value: float | None, is_turned: bool, whole: int) -> float | None:
    """A number that speaks for a, when a and b change places: it and its counterpart add up to `whole`."""
    return None if value is None else round(whole - value if is_turned else value, 9) + 0.0


@pytest.mark.parametrize("seed", range(3))
def test_twice_and_in_any_order_gives_the_same_as_once_and_in_order(store: Store, seed: int) -> None:
    """With a frozen snapshot, where every model answers and every pair is judged."""
    store.clock = lambda: 1e9
    Run(store).go()
    clean = contents(store)
    Run(store).go(deliveries=2, rng=random.Random(seed))
    again = contents(store)

    assert {row[1] for row in clean["prompts"]} == {"done"}
    assert any(row[3] for row in clean["responses"]), "some answers fail"
    assert {row[1] for row in clean["resolutions"]} >= {"decisive", "tie", "unscored"}
    assert not clean["open"]
    for what, rows in clean.items():
        assert again[what] == rows, what
