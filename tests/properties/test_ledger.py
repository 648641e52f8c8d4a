"""The model of the truth: random histories on SQLite and PostgreSQL at once, held against a page of plain Python.

A history is accepting, admitting, working, recording, duplicates, late messages, crashes, sweeps, a lost Redis and
requeues, in any order. After every step both databases say what the model says, and what always holds, holds.

The short form draws the same histories every time. The long form draws others each time, and the same again with
`pytest -m long tests/properties/test_ledger.py --hypothesis-seed=7`; `KARMA_TEST_HISTORIES` sets how many.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from msgspec.structs import replace
from sqlalchemy import event

from karma.config.pool import Pool
from karma.messages import Batch, GenerateBatch, JudgeBatch, LearnBatch, MatchBatch, ScoreBatch, encode
from karma.queue.claims import RELEASED, ClaimsView
from karma.queue.outbox import Outbox
from karma.ranking.snapshot import Snapshot
from karma.store import Store
from karma.store.records import BatchLimits, BatchRow
from karma.store.requeue import requeue_dead, requeue_unanswered, requeue_unscored
from karma_gateway.ingest import Line, take
from karma_gateway.redelivery import Redelivery
from karma_gateway.sweeper import Loss, Sweeper
from karma_matching.handlers import match as match_
from karma_matching.novelty import Novelty
from karma_scoring.fit.time_buckets import bucket_at
from karma_scoring.handlers import learn, score
from tests.integration.conftest import postgresql_url  # noqa: F401
from tests.support.memory import Flow, make_pool

WINDOW, AT_ONCE, ATTEMPTS = 5, 3, 2
LIMITS = BatchLimits(items=3)


def pool(batch_items: int) -> Pool:
    return make_pool(
        "abc",
        stream={"responses_per_prompt": 0, "policy": "all-pairs", "pairs_per_prompt": 0},
        streams={"duo": {"models": ["a", "b"]}},
        pipeline={"window": WINDOW, "plan_prompts": AT_ONCE, "batch_items": batch_items, "max_attempts": ATTEMPTS},
    )


POOL = pool(LIMITS.items)
SWEEPERS_POOL = pool(2)  # the limit was lowered while larger batches were on their way
MODELS = {"default": "abc", "duo": "ab"}
IN_FLIGHT = ("dispatched", "answered", "matched")

#: What prompts may say. Some bring answers: of other models, of one model twice, and one that is empty.
CONTENTS: tuple[dict[str, Any], ...] = (
    {"prompt": "plain"},
    {"prompt": "of a skill", "skill": "maths"},
    {"prompt": "with answers", "responses": {"b": "yes", "x": "no, it is not"}},
    {"prompt": "with two of one model", "responses": [{"model": "x", "text": "1"}, {"model": "x", "text": "2"}]},
    {"prompt": "with an empty one", "responses": {"x": "1", "a": " "}},
)
CONTENT = {one["prompt"]: one for one in CONTENTS}

Key = tuple[str, str]  # stream, prompt_id
Side = tuple[str, int]  # model, sample
Pair = tuple[Side, Side]  # in the order in which the two were recorded
Said = tuple[Any, str | None]  # a text or probability, or a failure
Resolution = tuple[str, Side | None, float | None, bool | None, str | None]  # outcome, chosen, P(a), flipped, reason


# --- the model --------------------------------------------------------------------------------------------------------


class Item(NamedTuple):
    """The natural key of open work, within its prompt."""

    stage: str
    target: str = ""
    sample: int = 0
    pair: Pair | None = None
    shown: int = 0


class Ref(NamedTuple):
    """Open work as a message names it; `asked` tells work that was asked for anew from the same work before."""

    key: Key
    item: Item
    asked: int


@dataclass
class Open:
    """What is remembered of open work."""

    asked: int = field(default=0, compare=False)
    attempts: int = 0
    result_attempts: int = 0
    error: str | None = None
    parked: bool = False


@dataclass
class Prompt:
    """Everything about a prompt: what the model holds, and what a database is read into."""

    content: str
    priority: int
    state: str = "accepted"
    awaited: int = 0  # while dispatched or matched
    no_pair: str | None = None
    error: str | None = None
    responses: dict[Side, Said] = field(default_factory=dict)
    pairs: dict[Pair, int] = field(default_factory=dict)  # verdicts awaited
    verdicts: dict[tuple[Pair, int], Said] = field(default_factory=dict)  # by pair and order
    resolutions: dict[Pair, Resolution] = field(default_factory=dict)
    open: dict[Item, Open] = field(default_factory=dict)


class Model:
    """What every accepted prompt should be after each command."""

    def __init__(self, met: Counter[str]) -> None:
        self.met = met
        self.prompts: dict[Key, Prompt] = {}  # in order of acceptance
        self.counts: Counter[tuple[str, str, str, int, str]] = Counter()  # skill, models, bucket, what
        self.now = 0.0
        self._asked = 0

    def accept(self, stream: str, prompt_id: str, content: str, priority: int) -> str:
        known = self.prompts.setdefault((stream, prompt_id), new := Prompt(content, priority))
        return "accepted" if known is new else "present" if known.content == content else "refused"

    def admit(self) -> None:
        room = min(AT_ONCE, WINDOW - sum(one.state in IN_FLIGHT for one in self.prompts.values()))
        waiting = [(key, one) for key, one in self.prompts.items() if one.state == "accepted"]
        for key, prompt in sorted(waiting, key=lambda pair: -pair[1].priority)[: max(0, room)]:
            if not prompt.open:
                given = CONTENT[prompt.content].get("responses")
                sides = _given(given) if given else [(model, 0) for model in MODELS[key[0]]]
                self._open(prompt, [Item("score" if given else "generate", *side) for side in sides])
            for work in prompt.open.values():
                work.parked = False
            stage = next(iter(prompt.open)).stage
            prompt.state = {"match": "answered", "judge": "matched"}.get(stage, "dispatched")
            pairs = {item.pair for item in prompt.open}
            prompt.awaited = {"match": 0, "judge": len(pairs)}.get(stage, len(prompt.open))

    def is_open(self, ref: Ref) -> bool:
        work = self.prompts[ref.key].open.get(ref.item)
        return work is not None and work.asked == ref.asked

    def is_awaited(self, ref: Ref) -> bool:
        return self.is_open(ref) and self.prompts[ref.key].state in IN_FLIGHT

    def record(self, refs: Sequence[Ref], says: Sequence[Said], carried: Sequence[tuple[Key, Item]]) -> None:
        """The first result of an open item of a prompt in flight counts, whoever brings it: the batch that carries
        the item now, or an old one."""
        for ref, said in zip(refs, says, strict=True):
            prompt = self.prompts[ref.key]
            if not self.is_open(ref):
                self.met["a result of work that was open no more"] += 1
            elif prompt.state not in IN_FLIGHT:
                self.met[f"a result for a prompt that was {prompt.state}"] += 1
            else:
                self.met["a result of an old batch that was the first"] += (ref.key, ref.item) not in carried
                del prompt.open[ref.item]
                {"match": self._match, "judge": self._learn}.get(ref.item.stage, self._score)(prompt, ref.item, said)

    def _score(self, prompt: Prompt, item: Item, said: Said) -> None:
        text, failure = said
        if failure is None and not text.strip():
            text, failure = None, "empty answer"
        prompt.responses[item.target, item.sample] = (text, failure)
        prompt.awaited -= 1
        if not prompt.awaited:
            prompt.state = "answered"
            self._open(prompt, [Item("match")])

    def _match(self, prompt: Prompt, item: Item, said: Said) -> None:
        texts = {side: text.casefold().split() for side, (text, failure) in prompt.responses.items() if failure is None}
        pairs = [pair for pair in combinations(texts, 2) if texts[pair[0]] != texts[pair[1]]]
        if not pairs:
            prompt.state = "done"
            prompt.no_pair = "near-duplicates only" if len(texts) > 1 else "fewer than two usable answers"
            self.met[prompt.no_pair] += 1
            return
        prompt.state, prompt.awaited = "matched", len(pairs)
        prompt.pairs = dict.fromkeys(pairs, 2)
        self._open(prompt, [Item("judge", "j", 0, pair, shown) for pair in pairs for shown in (0, 1)])

    def _learn(self, prompt: Prompt, item: Item, said: Said) -> None:
        probability, failure = said
        if probability is not None and not 0 <= probability <= 1:
            probability, failure = None, f"the probability {probability} is not in [0, 1]"
        pair = item.pair or _NEVER
        prompt.verdicts[pair, item.shown] = (probability, failure)
        prompt.pairs[pair] -= 1
        if prompt.pairs[pair]:
            return
        found = prompt.resolutions[pair] = resolve(pair, prompt.verdicts[pair, 0], prompt.verdicts[pair, 1])
        self.met[found[0]] += 1
        first, second = sorted(model for model, _ in pair)
        if found[0] in ("decisive", "tie") and first != second:
            what = "tie" if found[1] is None else "first" if found[1][0] == first else "second"
            self.counts[CONTENT[prompt.content].get("skill", ""), first, second, bucket_at(self.now), what] += 1
        prompt.awaited -= 1
        if not prompt.awaited:
            prompt.state = "done"

    def retry(self, work: Sequence[tuple[Key, Item]], error: str) -> None:
        """An attempt at a batch ended: counted at each of its items; only matching dies of it."""
        for key, item in work:
            one = self.prompts[key].open[item]
            one.attempts, one.error = one.attempts + 1, error
            if item.stage == "match" and one.attempts >= ATTEMPTS:
                self._bury(self.prompts[key], f"given up after {one.attempts} attempts: {error}")

    def recording_failed(self, refs: Sequence[Ref], error: str) -> None:
        """An attempt at recording results ended: counted where they would have counted."""
        counted = [ref for ref in refs if self.is_awaited(ref) and error != RELEASED]
        for ref in counted:
            one = self.prompts[ref.key].open[ref.item]
            one.result_attempts, one.error = one.result_attempts + 1, error
        for ref in counted:
            tried = self.prompts[ref.key].open[ref.item].result_attempts
            if tried >= ATTEMPTS:
                self._bury(self.prompts[ref.key], f"recording was given up after {tried} attempts: {error}")

    def _bury(self, prompt: Prompt, error: str) -> None:
        prompt.state, prompt.awaited, prompt.error = "dead", 0, error
        self.met.update({f"dead in {item.stage}" for item in prompt.open})
        for work in prompt.open.values():
            work.parked = True

    def requeue(self, what: str, stream: str | None) -> list[Key]:
        """Those that came back: what is missing is asked for anew, what is there stays."""
        back = []
        for key, prompt in self.prompts.items():
            failed = [side for side, (_, failure) in prompt.responses.items() if failure is not None]
            unscored = [pair for pair, found in prompt.resolutions.items() if found[0] == "unscored"]
            is_meant = {
                "dead": prompt.state == "dead",
                "unanswered": prompt.state == "done" and prompt.no_pair is not None and failed,
                "unscored": prompt.state == "done" and unscored,
            }
            if not is_meant[what] or stream not in (None, key[0]):
                continue
            back.append(key)
            self.met[f"requeued {what}"] += 1
            prompt.state, prompt.awaited, prompt.no_pair, prompt.error = "accepted", 0, None, None
            if what == "dead":
                for work in prompt.open.values():
                    work.attempts, work.result_attempts, work.error = 0, 0, None
            elif what == "unanswered":
                for side in failed:
                    del prompt.responses[side]
                self._open(prompt, [Item("generate", *side) for side in failed], parked=True)
            else:
                for pair in unscored:
                    prompt.pairs[pair] = 2
                    del prompt.resolutions[pair], prompt.verdicts[pair, 0], prompt.verdicts[pair, 1]
                work_again = [Item("judge", "j", 0, pair, shown) for pair in unscored for shown in (0, 1)]
                self._open(prompt, work_again, parked=True)
        return back

    def _open(self, prompt: Prompt, items: Sequence[Item], parked: bool = False) -> None:
        for item in items:
            self._asked += 1
            prompt.open[item] = Open(self._asked, parked=parked)


_NEVER: Pair = (("", 0), ("", 0))


def _given(responses: Any) -> list[Side]:
    models = list(responses) if isinstance(responses, dict) else [one["model"] for one in responses]
    return [(model, models[:place].count(model)) for place, model in enumerate(models)]


def resolve(pair: Pair, first: Said, second: Said) -> Resolution:
    """What two verdicts of one judge come to; `second` was shown b first."""
    better_a = [p if place == 0 else 1 - p for place, (p, _) in enumerate((first, second)) if p is not None]
    if not better_a:
        return ("unscored", None, None, None, "; ".join(sorted({str(first[1]), str(second[1])})))
    flipped = min(better_a) < 0.45 and max(better_a) > 0.55 if len(better_a) == 2 else None
    mean = round(sum(better_a) / len(better_a), 9)
    if abs(mean - 0.5) <= 0.05:
        return ("inconsistent" if flipped else "tie", None, mean, flipped, None)
    return ("decisive", pair[0] if mean > 0.5 else pair[1], mean, flipped, None)


# --- the databases ----------------------------------------------------------------------------------------------------


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

    def register_script(self, _script: str) -> Callable[..., list[bytes]]:
        return lambda args, **_arguments: [name.encode() for name in args[1:]]


class World(Flow):
    """One database, the product's own code on it, and what is read back from it under natural keys."""

    def __init__(self, place: int, store: Store, clock: Callable[[], float]) -> None:
        super().__init__(store, POOL)
        self.place = place
        store.clock = clock
        self.redis = NoRedis()
        self.out: list[Batch] = []
        self.crash = ""
        self.outbox = Outbox("test", store, POOL, self, self.redis, clock)  # type: ignore[arg-type]
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
                score(batch, transaction, None, LIMITS)
            elif isinstance(batch, LearnBatch):
                learn(batch, transaction)
            else:
                assert isinstance(batch, MatchBatch)
                stream, judges = POOL.stream(batch.header.stream), POOL.stream_judges(batch.header.stream)
                match_(batch, transaction, stream, judges, Snapshot.empty(), LIMITS, Novelty())
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
        self.redelivery.look(name, ClaimsView(1e9, 10.0, {batch.header.batch: {name: 0.0}}, {name: error}))

    def requeue(self, what: str, stream: str | None) -> int:
        command = {"dead": requeue_dead, "unanswered": requeue_unanswered, "unscored": requeue_unscored}[what]
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
                _put(self._of(row).responses, side, (row[4], row[5]))
            for row in rows("SELECT id, prompt, response_a, response_b, awaited FROM pairs ORDER BY id"):
                assert row[2] < row[3], f"a < b in {row}"
                self.pairs[row[0]] = pair = (self.sides[row[2]], self.sides[row[3]])
                _put(self._of(row).pairs, pair, row[4])
            for row in rows(
                "SELECT pair, prompt, shown, probability, failure FROM verdicts v JOIN pairs p ON p.id = v.pair"
            ):
                _put(self._of(row).verdicts, (self.pairs[row[0]], row[2]), (row[3], row[4]))
            for row in rows(
                "SELECT pair, prompt, outcome, chosen, rejected, probability, flipped, label_source, reason "
                "FROM resolutions"
            ):
                _put(self._of(row).resolutions, self.pairs[row[0]], self._resolution(row))
            carried: dict[str, list[tuple[Key, Item]]] = defaultdict(list)
            for row in rows(
                "SELECT id, prompt, stage, target, sample, pair, shown, batch, attempts, result_attempts, error "
                "FROM work_items ORDER BY id"
            ):
                item = Item(*row[2:5], self.pairs.get(row[5]), row[6])
                parked = row[7] == ""
                _put(self._of(row).open, item, Open(0, *row[8:11], parked))
                if not parked:
                    carried[row[7]].append((self.keys[row[1]], item))
            batches = {row[0]: row[1:] for row in rows("SELECT id, stage, target, stream, published_at FROM batches")}
            self.counts = {
                (*row[:4], what): number
                for row in rows("SELECT skill, model_a, model_b, bucket, wins_a, wins_b, ties FROM competency_counts")
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
                return [(*self._asked(one.prompt, batch.model.name, one.sample), (None, None)) for one in batch.items]
            case ScoreBatch():
                return [
                    (*self._asked(one.prompt, one.model, one.sample), (one.text, one.failure)) for one in batch.items
                ]
            case MatchBatch():
                return [(self.keys[one.prompt], Item("match"), (None, None)) for one in batch.items]
            case JudgeBatch():
                return [judged(one, batch.judge.name, one.first, one.second) for one in batch.items]
            case LearnBatch():
                return [judged(one, one.judge, one.probability, one.failure) for one in batch.items]

    def _asked(self, prompt: int, model: str, sample: int) -> tuple[Key, Item]:
        key = self.keys[prompt]
        given = Item("score", model, sample)
        return key, given if given in self.prompts[key].open else Item("generate", model, sample)


def _put(rows: dict[Any, Any], key: Any, value: Any) -> None:
    assert key not in rows, f"doubled: {key}"
    rows[key] = value


def check(prompts: dict[Key, Prompt], counts: dict[Any, float]) -> None:
    """What always holds, whatever the model says."""
    stages = {
        "dispatched": [{"generate"}, {"score"}],
        "answered": [{"match"}],
        "matched": [{"judge"}],
        "done": [set()],
        "dead": [{"generate"}, {"score"}, {"match"}, {"judge"}],
    }
    for key, prompt in prompts.items():
        where = f"{key}: {prompt}"
        assert {item.stage for item in prompt.open} in stages.get(prompt.state, [set(), *stages["dead"]]), where
        assert all(work.parked == (prompt.state in ("accepted", "dead")) for work in prompt.open.values()), where
        unresolved = [pair for pair in prompt.pairs if pair not in prompt.resolutions]
        awaited = {"dispatched": len(prompt.open), "matched": len(unresolved)}.get(prompt.state, 0)
        assert prompt.awaited == awaited, where
        assert (awaited > 0) == (prompt.state in ("dispatched", "matched")), where
        for pair, left in prompt.pairs.items():
            assert left == sum(item.pair == pair for item in prompt.open), where
            assert (left == 0) == (pair in prompt.resolutions), where
        if prompt.state == "done":
            assert bool(prompt.resolutions) != bool(prompt.no_pair), where
            assert prompt.resolutions.keys() == prompt.pairs.keys(), where
    taught = sum(
        found[0] in ("decisive", "tie") and a[0] != b[0]
        for prompt in prompts.values()
        for (a, b), found in prompt.resolutions.items()
    )
    assert sum(counts.values()) == taught


# --- the histories ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """A message under natural keys, with the message itself for each database."""

    refs: tuple[Ref, ...]
    says: tuple[Said, ...]
    bodies: tuple[Batch, ...]

    @property
    def is_result(self) -> bool:
        return isinstance(self.bodies[0], ScoreBatch | LearnBatch)


@dataclass
class Tally:
    """What was tried, and what was met on the way."""

    histories: int = 0
    steps: int = 0
    comparisons: int = 0
    prompts: int = 0
    met: Counter[str] = field(default_factory=Counter)
    trace: list[str] | None = None

    def __str__(self) -> str:
        counts = f"{self.histories} histories, {self.steps} steps, {self.comparisons} comparisons of each database"
        return "\n".join(
            [
                f"{counts}; {self.prompts} prompts ended",
                *(f"  {count:7} {what}" for what, count in sorted(self.met.items())),
            ]
        )


#: What a run must meet to show anything.
WANTED = (
    *("decisive", "tie", "inconsistent", "unscored", "near-duplicates only", "fewer than two usable answers"),
    *("dead in generate", "dead in score", "dead in match", "dead in judge"),
    *("requeued dead", "requeued unanswered", "requeued unscored"),
    *("a result of an old batch that was the first", "a result of work that was open no more"),
    "a result for a prompt that was dead",
)

#: What a model may say (None: words of its own), and what the judge may, to whom b is shown first where `shown` is 1.
ANSWERS: tuple[Said | None, ...] = (
    *(None, None, None, None),
    *(("the same words", None), ("The same  words", None), (" ", None), (None, "timed out")),
)
VERDICTS: tuple[Callable[[int], Said], ...] = (
    lambda shown: (0.9 if shown == 0 else 0.1, None),
    lambda shown: (0.9 if shown == 1 else 0.1, None),
    lambda shown: (0.9, None),
    lambda shown: (0.1, None),
    lambda shown: (0.5, None),
    lambda shown: (None, "no verdict was found"),
    lambda shown: (None, "timed out"),
    lambda shown: (1.5, None),
)

picks = st.integers(0, 99)
#: What comes of the items of a message, in turn.
outcomes = st.lists(st.integers(0, 7), min_size=1, max_size=3)
crashes = st.sampled_from(["", "", "", "", "before the commit", "before publishing", "before marking"])
errors = st.sampled_from(["boom", "boom", "boom", RELEASED])
new_prompts = st.lists(st.tuples(st.sampled_from("pqrs"), st.integers(0, len(CONTENTS) - 1)), min_size=1, max_size=4)
streams = st.sampled_from(sorted(MODELS))

#: The commands (methods of `Ledgers`), how often each is drawn, and what it is given.
COMMANDS: tuple[tuple[str, int, tuple[st.SearchStrategy[Any], ...]], ...] = (
    ("accept", 3, (streams, new_prompts, st.sampled_from([0, 0, 5]))),
    ("admit", 4, (crashes,)),
    ("arrive", 5, (st.lists(picks, min_size=1, max_size=4), outcomes, st.booleans(), crashes)),
    ("arrive_all", 4, (outcomes, st.booleans())),
    ("arrive_again", 3, (picks, st.booleans(), outcomes, st.booleans(), crashes)),
    ("lose_one", 1, (picks,)),
    ("lose_redis", 1, ()),
    ("sweep", 4, (picks, st.sampled_from(["vanished", "silent"]), st.integers(1, 4), crashes)),
    ("sweep_what_was_read_before", 1, (picks, st.sampled_from(["vanished", "silent"]), crashes)),
    ("sweep_everything", 1, (crashes,)),
    ("fail_to_record", 4, (picks, errors, st.sampled_from([False, False, False, True]), st.integers(1, 3))),
    ("requeue", 3, (st.sampled_from(["dead", "unanswered", "unscored"]), st.sampled_from([None, None, *MODELS]))),
)
commands = st.one_of(*(st.tuples(st.just(name), *given) for name, weight, given in COMMANDS for _time in range(weight)))


class Ledgers(RuleBasedStateMachine):
    """Commands; each is done on every database and on the model, and all are compared."""

    def __init__(self, stores: Sequence[Store], tally: Tally) -> None:
        super().__init__()
        self.model = Model(tally.met)
        self.worlds = [World(place, store, lambda: self.model.now) for place, store in enumerate(stores)]
        self.seen: list[Message] = []
        self.flying: list[Message] = []  # in Redis, or in hand
        self.tally = tally
        self.sound = True
        tally.histories += 1

    @initialize(stream=streams, lines=new_prompts)
    def begin(self, stream: str, lines: list[tuple[str, int]]) -> None:
        self.accept(stream, lines, 0)

    @rule(command=commands)
    def step(self, command: tuple[Any, ...]) -> None:
        """One rule for all, so that none is left out of a history: a prompt comes to its end by many together."""
        self.tally.steps += 1
        name, *given = command
        getattr(self, name)(*given)

    def accept(self, stream: str, lines: list[tuple[str, int]], priority: int) -> None:
        contents = [CONTENTS[content] | {"id": prompt_id} for prompt_id, content in lines]
        answers = [self.model.accept(stream, one["id"], one["prompt"], priority) for one in contents]
        expected = tuple(answers.count(answer) for answer in ("accepted", "present", "refused"))

        def enqueue(world: World) -> None:
            assert world.enqueue(stream, contents, priority) == expected

        self._do(enqueue)

    def admit(self, crash: str = "") -> None:
        self.model.admit()
        self._do(lambda world: world.dispatcher.admit(), crash)

    def arrive(self, picks: list[int], outcomes: list[int], whole: bool, crash: str) -> None:
        """Some messages are taken and worked on, in any order."""
        for pick in picks[: len(self.flying)]:
            self._work(self.flying.pop(pick % len(self.flying)), outcomes, whole, crash)

    def arrive_all(self, outcomes: list[int], whole: bool) -> None:
        """A quiet time: all that is in flight arrives, in the order of its sending."""
        flying, self.flying = self.flying, []
        for place, message in enumerate(flying):
            self._work(message, outcomes[place % len(outcomes) :] + outcomes, whole, "")

    def arrive_again(self, pick: int, is_in_vain: bool, outcomes: list[int], whole: bool, crash: str) -> None:
        """A duplicate, or the late work of somebody whose batch was given to another: for nothing, or not quite."""
        found = [message for message in self.seen if is_in_vain or any(map(self.model.is_open, message.refs))]
        if found:
            self._work(found[pick % len(found)], outcomes, whole, crash)

    def lose_one(self, pick: int) -> None:
        if self.flying:
            self.flying.pop(pick % len(self.flying))

    def lose_redis(self) -> None:
        self.flying.clear()

    def sweep(self, pick: int, why: str, times: int, crash: str) -> None:
        """A batch is taken for lost, whether it is or not; and so is the one that its first item is in then."""
        carried = self.worlds[0].carried
        number = sorted(carried)[pick % len(carried)] if carried else None
        first = carried[number][0] if number is not None else None
        for _time in range(times):
            if number is not None:
                self._sweep(number, why, crash)
            number = next((number for number, work in self.worlds[0].carried.items() if first in work), None)

    def sweep_what_was_read_before(self, pick: int, why: str, crash: str) -> None:
        """Of two sweepers one comes second: the batch may be gone, and its work elsewhere or done."""
        if self.worlds[0].rows:
            self._sweep(pick % len(self.worlds[0].rows), why, crash)

    def sweep_everything(self, crash: str = "") -> None:
        """All is taken for lost, and sent again in one go."""
        self._do(lambda world: world.sweep(sorted(world.carried), Loss("vanished")), crash)

    def fail_to_record(self, pick: int, error: str, late: bool, times: int) -> None:
        """Results in the hand of a worker that dies are delivered again, alone unless they were handed back."""
        flying = [message for message in self.flying if message.is_result]
        found = flying if flying and not late else [message for message in self.seen if message.is_result][-5:]
        for _time in range(times if found else 0):
            message = found[pick % len(found)]
            if message in self.flying:
                self.flying.remove(message)
            self.model.recording_failed(message.refs, error)
            awaited = [ref for ref in message.refs if self.model.is_awaited(ref)]
            before = len(self.seen)
            self._do(lambda world, message=message: world.redeliver(message.bodies[world.place], error))
            new = self.seen[before:]
            again = [ref for one in new for ref in one.refs]
            assert set(awaited) <= set(again) <= set(message.refs)
            assert len(new) == (len(again) if error != RELEASED else bool(again))
            found = new or found

    def requeue(self, what: str, stream: str | None) -> None:
        back = self.model.requeue(what, stream)

        def requeue(world: World) -> None:
            assert world.requeue(what, stream) == len(back)
            for key in back:
                del world.raw[key]

        self._do(requeue)

    def teardown(self) -> None:
        """Everything is driven to its end; what ended badly is brought back once and driven to the end again."""
        if not self.sound:
            return
        self._drive()
        for what in ("dead", "unanswered", "unscored"):
            self.requeue(what, None)
        ends = self._drive()
        assert not ends["dead"]
        self.tally.prompts += ends.total()

    def _drive(self) -> Counter[str]:
        """Nothing is lost any more, and every message comes once: then every accepted prompt ends."""
        for _round in range(100):
            flying, self.flying = self.flying, []
            for message in flying:
                self._work(message, [len(self.seen) % len(ANSWERS)], True, "")
            self.admit()
            if not self.flying:
                self.sweep_everything()
            if not self.flying:
                break
        ends = Counter(prompt.state for prompt in self.worlds[0].prompts.values())
        assert ends.keys() <= {"done", "dead"}, ends
        return ends

    # --- how a command is done ------------------------------------------------------------------------------------

    def _work(self, message: Message, outcomes: list[int], whole: bool, crash: str) -> None:
        if isinstance(message.bodies[0], GenerateBatch | JudgeBatch):
            says = [_say(ref, outcomes[place % len(outcomes)]) for place, ref in enumerate(message.refs)]
            places = range(len(says))
            for part in [list(places)] if whole else [[place] for place in places]:
                said = tuple(says[place] for place in part)
                bodies = tuple(self._result(body, part, said) for body in message.bodies)
                self._fly(Message(tuple(message.refs[place] for place in part), said, bodies))
            return
        if crash != "before the commit":
            number = self.worlds[0].number(message.bodies[0])
            self.model.record(message.refs, message.says, self.worlds[0].carried.get(number, ()))
        self._do(lambda world: world.handle(message.bodies[world.place]), crash)

    def _result(self, asked: Batch, part: Sequence[int], said: Sequence[Said]) -> Batch:
        """What comes back for a part of a message; another process may judge by another template."""
        flow, number = self.worlds[0], len(self.seen)
        header = replace(asked.header, part=number)
        items = [(replace(asked, items=(asked.items[place],)), *one) for place, one in zip(part, said, strict=True)]
        if isinstance(asked, GenerateBatch):
            return ScoreBatch(header=header, items=tuple(flow.answer(*item).items[0] for item in items))
        verdicts = [flow.judge(*item).items[0] for item in items]
        changed = [replace(verdict, template_hash=f"template {number % 2}") for verdict in verdicts]
        return LearnBatch(header=header, items=tuple(changed))

    def _sweep(self, number: int, why: str, crash: str) -> None:
        world = self.worlds[0]
        # Nobody falls silent on a batch that was never sent, and results in hand are delivered again instead.
        is_silent = why == "silent" and world.rows[number].stage != "score"
        if is_silent and number in world.published:
            self.model.retry(world.carried[number], "the worker fell silent")
        loss = Loss(why, "the worker fell silent" if is_silent else None)
        alone = world.carried[number] if is_silent and number in world.published else []
        self._do(lambda world: world.sweep([number], loss), crash)
        assert all(work[0] not in alone or len(work) == 1 for work in world.carried.values())

    def _do(self, act: Callable[[World], object], crash: str = "") -> None:
        self.sound = False
        self.tally.comparisons += 1
        for world in self.worlds:
            world.crash, world.out = crash, []
            with suppress(CrashError):
                act(world)
            ended = world.raw
            world.look()
            assert {key: world.raw.get(key) for key in ended} == ended, "what has ended was changed"
            check(world.prompts, world.counts)
            assert world.prompts == self.model.prompts
            assert world.counts == dict(self.model.counts)
            if not crash:
                sent = {world.number(body) for body in world.out if not isinstance(body, ScoreBatch | LearnBatch)}
                assert sent & world.carried.keys() <= world.published
        first, *others = self.worlds
        for other in others:
            assert (other.carried, other.published) == (first.carried, first.published)
        for bodies in zip(*(world.out for world in self.worlds), strict=True):
            self._file(bodies)
        if self.tally.trace is not None:
            self.tally.trace.append(repr((self.model.prompts, first.carried, [one.refs for one in self.flying])))
        self.model.now += 600.0
        self.sound = True

    def _file(self, bodies: tuple[Batch, ...]) -> None:
        """A message was published: the same in every database, about work that is open, and with the stored texts."""
        first, *others = [world.read(body) for world, body in zip(self.worlds, bodies, strict=True)]
        assert others == [first] * len(others)
        assert 0 < len(first) <= LIMITS.items
        for key, item, said in first:
            if isinstance(bodies[0], GenerateBatch | JudgeBatch):
                assert self.model.prompts[key].open[item].attempts < ATTEMPTS
            if isinstance(bodies[0], JudgeBatch):
                shown = item.pair if item.shown == 0 else (item.pair or _NEVER)[::-1]
                assert said == tuple(self.model.prompts[key].responses[side][0] for side in shown or ())
        refs = tuple(Ref(key, item, self.model.prompts[key].open[item].asked) for key, item, _ in first)
        self._fly(Message(refs, tuple(said for _, _, said in first), bodies))

    def _fly(self, message: Message) -> None:
        self.seen.append(message)
        self.flying.append(message)


def _say(ref: Ref, outcome: int) -> Said:
    if ref.item.stage == "judge":
        return VERDICTS[outcome](ref.item.shown)
    return ANSWERS[outcome] or (f"{ref.item.target} answers {ref.key[1]}", None)


# --- the tests --------------------------------------------------------------------------------------------------------


@pytest.fixture
def stores(request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[list[Store]]:
    """Both databases, empty; on PostgreSQL nobody waits for the disk."""
    caplog.set_level(logging.ERROR, "karma_gateway")
    made = [Store(f"sqlite:///{tmp_path / 'karma.db'}"), Store(request.getfixturevalue("postgresql_url"))]

    @event.listens_for(made[1].engine, "connect")
    def do_not_wait(connection: Any, _record: Any) -> None:
        connection.execute("SET synchronous_commit = off")
        connection.commit()

    with made[1].engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    for store in made:
        store.migrate()
    yield made
    for store in made:
        store.close()


def run(stores: Sequence[Store], tally: Tally, histories: int, **changes: Any) -> Tally:
    """Draw histories of 50 steps; returns what was tried."""
    drawn = settings(
        max_examples=histories,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        **changes,
    )
    run_state_machine_as_test(lambda: Ledgers(stores, tally), settings=drawn)
    return tally


def test_both_databases_tell_the_truth_whatever_happens(stores: list[Store]) -> None:
    run(stores, Tally(), 12, derandomize=True)


def test_sqlite_tells_the_truth_in_many_more_histories(stores: list[Store]) -> None:
    """At a fifth of the cost: enough for everything to be met that a history is about."""
    tally = run(stores[:1], Tally(), 60, derandomize=True)
    assert not {what for what in WANTED if not tally.met[what]}


def test_a_seed_gives_the_same_histories_again(stores: list[Store]) -> None:
    first, second = (run(stores, Tally(trace=[]), 2, derandomize=True).trace for _time in range(2))
    assert first
    assert first == second


@pytest.mark.long
@pytest.mark.timeout(0)
def test_both_databases_tell_the_truth_in_ten_thousand_histories(
    stores: list[Store], capsys: pytest.CaptureFixture[str]
) -> None:
    tally = run(stores, Tally(), int(os.environ.get("KARMA_TEST_HISTORIES", "10000")))
    with capsys.disabled():
        print(f"\n{tally}")
