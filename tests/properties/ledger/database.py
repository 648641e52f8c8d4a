"""One database: the product's own code on it, and its rows read back under natural keys."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from karma.messages import Batch, GenerateBatch, JudgeBatch, LearnBatch, MatchBatch, ScoreBatch
from karma.messages.signing import UNSIGNED
from karma.messages.wire import encode
from karma.queue.claims_view import ClaimsView
from karma.queue.outbox import Outbox
from karma.ranking.snapshot import Snapshot
from karma.store import Store
from karma.store.records import BatchRow
from karma.store.requeue import requeue_dead, requeue_incomplete, requeue_unanswered, requeue_unscored
from karma_gateway.ingest import Line, take
from karma_gateway.redelivery import Redelivery
from karma_gateway.sweeper import Loss, Sweeper
from karma_matching.handlers import match as match_
from karma_matching.novelty import Novelty
from karma_scoring.handlers import learn, score
from karma_scoring.withdrawal import withdrawal
from tests.properties.ledger.invariants import put
from tests.properties.ledger.records import (
    LIMITS,
    POOL,
    SECOND_ORDER,
    SWEEPERS_POOL,
    Item,
    Key,
    Open,
    Pair,
    Prompt,
    Resolution,
    Said,
    Side,
)
from tests.support.memory import Flow

#: Says of the judge when its first verdict is enough.
SNAPSHOT = replace(Snapshot.empty(), second_orders={"j": SECOND_ORDER})


class CrashError(Exception):
    """The process is gone."""


class NoRedis:
    """What the sweeper asks Redis for when it delivers results again: the message `kept`, and leave to go on."""

    kept = ""

    def get(self, _key: str) -> bytes:
        return b"epoch"

    def hget(self, _key: str, _name: str) -> bytes:
        return self.kept.encode()

    def time(self) -> tuple[int, int]:
        return 0, 0

    def zadd(self, *_arguments: Any, **_options: Any) -> None:
        pass

    def register_script(self, _script: str) -> Callable[..., list[bytes | int]]:
        """Every claim is revoked, and none had ended before."""
        return lambda args, **_arguments: [part for name in args[1:] for part in (name.encode(), 0)]


class World(Flow):
    """One database, the product's own code on it, and what is read back from it under natural keys."""

    keyring = UNSIGNED  # of its publisher

    def __init__(self, place: int, store: Store, clock: Callable[[], float]) -> None:
        super().__init__(store, POOL)
        self.place = place
        store.clock = clock
        self.redis = NoRedis()
        self.out: list[Batch] = []
        self.crash = ""
        self.outbox = Outbox("test", store, POOL, self, lambda: "epoch", clock)  # type: ignore[arg-type]
        self.sweeper = Sweeper(store, SWEEPERS_POOL, self, self, self.redis, clock)  # type: ignore[arg-type]
        self.redelivery = Redelivery(store, POOL, self, self.redis, clock)  # type: ignore[arg-type]
        self.rows: list[BatchRow] = []  # every batch there ever was; its place is its number
        self._numbers: dict[str, int] = {}
        self._empty()
        self.look()

    def _empty(self) -> None:
        tables = "gates, skill_clusters, work_items, batches, competency_counts, resolutions, verdicts, pairs, "
        tables += "responses, prompts, streams"
        postgresql = self.store.engine.dialect.name == "postgresql"
        with self.store.transaction() as transaction:
            for statement in [f"TRUNCATE {tables}"] if postgresql else [f"DELETE FROM {t}" for t in tables.split(", ")]:
                transaction.ledger.connection.exec_driver_sql(statement)

    # The outbox that the dispatcher and the sweeper get, and the publisher of that outbox.

    def send(self, ids: Sequence[str]) -> None:
        self.outbox.send(ids)

    def publish(self, messages: Sequence[Batch]) -> None:
        if self.crash == "before publishing":
            raise CrashError
        self.out.extend(messages)
        if self.crash == "before marking":
            raise CrashError

    # What a process does.

    def enqueue(self, stream: str, contents: Sequence[dict[str, Any]], priority: int) -> tuple[int, int, int]:
        lines = [Line("t", place, json.dumps(one).encode()) for place, one in enumerate(contents)]
        receipt = take(self.store, stream, lines, max_bytes=1 << 20, priority=priority)
        return receipt.accepted, receipt.present, len(receipt.refused)

    def handle(self, batch: Batch) -> None:
        with self.store.transaction() as transaction:
            if isinstance(batch, ScoreBatch):
                score(batch, transaction, lambda _stream: None, LIMITS)
            elif isinstance(batch, LearnBatch):
                learn(batch, transaction, limits=LIMITS)
            else:
                assert isinstance(batch, MatchBatch)
                stream, judges = POOL.stream(batch.header.stream), POOL.stream_judges(batch.header.stream)
                match_(batch, transaction, stream, judges, SNAPSHOT, LIMITS, Novelty())
            if self.crash == "before the commit":
                raise CrashError
        self.send(transaction.work.opened)

    def sweep(self, numbers: Sequence[int], loss: Loss) -> None:
        unsent = {number for number in numbers if number in self.carried and number not in self.published}
        self.send([self.rows[number].id for number in numbers if number in unsent])
        self.sweeper._resend([(self.rows[number], loss) for number in numbers if number not in unsent])
        with self.store.transaction() as transaction:
            transaction.work.forget_empty(older_than=transaction.work.now - 60)

    def redeliver(self, batch: Batch, error: str) -> None:
        self.redis.kept = encode(batch)
        stage = "score" if isinstance(batch, ScoreBatch) else "learn"
        name = f"{stage}:{batch.header.batch}:{batch.header.part}"
        self.redelivery.redeliver(name, ClaimsView(1e9, 10.0, {batch.header.batch: {name: 0.0}}, {name: ("", error)}))

    def requeue(self, what: str, stream: str | None) -> int:
        command = {
            "dead": requeue_dead,
            "unanswered": requeue_unanswered,
            "incomplete": partial(requeue_incomplete, withdrawal(POOL)),
            "unscored": requeue_unscored,
        }[what]
        with self.store.transaction() as transaction:
            return len(command(transaction.ledger.connection, stream))

    # What is there.

    def number(self, batch: Batch) -> int:
        return self._numbers[batch.header.batch]

    def look(self) -> None:
        """Read everything; what has an id in the database gets its natural key."""
        with self.store.reading() as transaction:

            def rows(query: str) -> Sequence[Any]:
                return transaction.ledger.connection.exec_driver_sql(query).fetchall()

            self.prompts: dict[Key, Prompt] = {}
            self.keys: dict[int, Key] = {}
            self.sides: dict[int, Side] = {}
            self.pairs: dict[int, Pair] = {}
            self.raw: dict[Key, set[Any]] = {}  # the rows of prompts that have ended
            for row in rows(
                "SELECT id, stream, prompt_id, messages, priority, state, awaited, no_pair, error, ended_at "
                "FROM prompts ORDER BY id"
            ):
                id_, stream, prompt_id, messages, priority, state, awaited, no_pair, error, ended_at = row
                self.keys[id_] = key = (stream, prompt_id)
                awaited = awaited if state in ("dispatched", "matched") else 0
                content = json.loads(messages)[0]["content"]
                self.prompts[key] = Prompt(content, priority, state, awaited, no_pair, error)
                assert (ended_at is not None) == (state in ("done", "dead")), f"{key} is {state}, ended {ended_at}"
                self.raw[key] = {row}
            for row in rows("SELECT id, prompt, model, sample, text, failure FROM responses ORDER BY id"):
                self.sides[row[0]] = side = (row[2], row[3])
                put(self._of(row).responses, side, (row[4], row[5]))
            for row in rows("SELECT id, prompt, response_a, response_b, awaited, reasons FROM pairs ORDER BY id"):
                assert row[2] < row[3], f"a < b in {row}"
                self.pairs[row[0]] = pair = (self.sides[row[2]], self.sides[row[3]])
                put(self._of(row).pairs, pair, row[4])
                if plan := json.loads(row[5]).get("orders"):
                    put(self._of(row).first, pair, (plan["first"]["j"], plan.get("audited", False)))
            for row in rows(
                "SELECT pair, prompt, shown, probability, failure FROM verdicts v JOIN pairs p ON p.id = v.pair"
            ):
                put(self._of(row).verdicts, (self.pairs[row[0]], row[2]), (row[3], row[4]))
            for row in rows(
                "SELECT pair, prompt, outcome, chosen, rejected, probability, flipped, label_source, reason "
                "FROM resolutions"
            ):
                put(self._of(row).resolutions, self.pairs[row[0]], self._resolution(row))
            carried: dict[str, list[tuple[Key, Item]]] = defaultdict(list)
            for row in rows(
                "SELECT id, prompt, stage, target, sample, pair, shown, batch, attempts, result_attempts, error "
                "FROM work_items ORDER BY id"
            ):
                item = Item(*row[2:5], self.pairs.get(row[5]), row[6])
                parked = row[7] == ""
                put(self._of(row).open, item, Open(0, *row[8:11], parked))
                if not parked:
                    carried[row[7]].append((self.keys[row[1]], item))
            batches = {row[0]: row[1:] for row in rows("SELECT id, stage, target, stream, published_at FROM batches")}
            self.counts = {
                (*row[:4], what): number
                for row in rows(
                    "SELECT skill, model_a, model_b, bucket, sum(wins_a), sum(wins_b), sum(ties) "
                    "FROM competency_counts GROUP BY skill, model_a, model_b, bucket"
                )
                for what, number in zip(("first", "second", "tie"), row[4:], strict=True)
                if number
            }
            new = [id_ for id_ in batches if id_ not in self._numbers]
            if new:
                new.sort(key=lambda id_: repr((batches[id_][:3], carried.get(id_))))
                self._numbers |= {id_: len(self.rows) + place for place, id_ in enumerate(new)}
                self.rows += transaction.work.batches(new)
        self.raw = {key: raw for key, raw in self.raw.items() if self.prompts[key].state in ("done", "dead")}
        self.carried = {self._numbers[id_]: work for id_, work in carried.items() if id_ in self._numbers}
        self.published = {self._numbers[id_] for id_ in carried if id_ in batches and batches[id_][3] is not None}
        for id_, work in carried.items():
            assert id_ in batches, f"{work} is in a batch that is not there: no sweep would find it"
            for key, item in work:
                target = item.target if item.stage in ("generate", "judge") else ""
                assert batches[id_][:3] == (item.stage, target, key[0])

    def _of(self, row: Any) -> Prompt:
        """The prompt of another table's row, whose second column names it."""
        key = self.keys[row[1]]
        self.raw[key].add(row)
        return self.prompts[key]

    def _resolution(self, row: Any) -> Resolution:
        pair, _, outcome, chosen, rejected, probability, flipped, source, reason = row
        if outcome == "decisive":
            assert {self.sides[chosen], self.sides[rejected]} == set(self.pairs[pair])
        assert (chosen is not None, rejected is not None, source) == (
            (True, True, "judge") if outcome == "decisive" else (False, False, None)
        )
        rounded = None if probability is None else round(probability, 9)
        return outcome, self.sides.get(chosen), rounded, None if flipped is None else bool(flipped), reason

    def read(self, batch: Batch) -> list[tuple[Key, Item, Said]]:
        """A message under natural keys: the work, and what it says: a result, or the two texts of a pair."""

        def judged(one: Any, judge: str, *said: Any) -> tuple[Key, Item, Said]:
            return self.keys[one.prompt], Item("judge", judge, 0, self.pairs[one.pair], one.order), said

        match batch:
            case GenerateBatch():
                return [(*self._asked(one.prompt, batch.model, one.sample), (None, None)) for one in batch.items]
            case ScoreBatch():
                return [
                    (*self._asked(one.prompt, one.model, one.sample), (one.text, one.failure)) for one in batch.items
                ]
            case MatchBatch():
                return [(self.keys[one.prompt], Item("match"), (None, None)) for one in batch.items]
            case JudgeBatch():
                return [judged(one, batch.judge, one.first, one.second) for one in batch.items]
            case LearnBatch():
                return [judged(one, one.judge, one.probability, one.failure) for one in batch.items]

    def _asked(self, prompt: int, model: str, sample: int) -> tuple[Key, Item]:
        key = self.keys[prompt]
        given = Item("score", model, sample)
        return key, given if given in self.prompts[key].open else Item("generate", model, sample)
