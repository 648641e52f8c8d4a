"""The refit on real databases: counts that are merged or renamed lose nothing, a swapped model is followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from karma.config.pool import Pool
from karma.messages import GenerateBatch, JudgeBatch, LearnBatch
from karma.ranking.snapshot import Snapshot
from karma.store import Store
from karma.store.judged_pairs import judged_pairs
from karma.store.records import Count
from karma_monitor.figures.models.refits import Refits
from karma_scoring.fit.refit import Refitter
from karma_scoring.fit.time_buckets import bucket_at
from karma_scoring.handlers import learn
from tests.benchmarks.common_causes import sharper
from tests.support.memory import ENDPOINT, Flow, make_pool

MODELS = "abcd"


class Judged:
    """A stream of verdicts at the pace of its own clock, straight into the counts."""

    def __init__(self, store: Store) -> None:
        self.store, self.now, self.rng = store, 1.8e9, np.random.default_rng(1)
        self.truth = dict(zip(MODELS, (-1.0, 0.0, 0.5, 1.0), strict=True))
        self.refitter = Refitter(store, make_pool(MODELS))
        store.clock = lambda: self.now

    def judge(self, number: int, every_s: float = 1.0) -> None:
        """Verdicts on random pairs, without ties."""
        for _ in range(number):
            self.now += every_s
            a, b = sorted(self.rng.choice(list(MODELS), 2, replace=False))
            won = float(self.rng.random() < 1 / (1 + np.exp(self.truth[b] - self.truth[a])))
            with self.store.transaction() as transaction:
                count = Count("judge", "x", a, b, bucket_at(self.now), won, 1 - won, 0.0, 1.0)
                transaction.preferences.add_counts([count])

    def counts(self) -> list[Count]:
        with self.store.reading() as transaction:
            return transaction.preferences.counts()


def test_counts_that_a_migration_made_smaller_are_fitted_at_once(store: Store) -> None:
    judged = Judged(store)
    judged.judge(40)
    assert judged.refitter.refit(1)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE competency_counts SET wins_a = wins_a / 2, wins_b = wins_b / 2")

    assert judged.refitter.refit_if_due() is not None
    assert judged.refitter.refit_if_due() is None


def test_judged_pairs_are_read_with_the_side_that_each_judge_took(store: Store) -> None:
    judges = {name: {"kind": "openai", "model": {**ENDPOINT, "model": name}} for name in ("ja", "jb", "none")}
    flow = Flow(store, make_pool("ab", judges=judges))
    flow.accept(*({"id": f"p{number}", "prompt": f"Say {number}."} for number in range(3)))
    flow.dispatcher.admit()
    while flow.sent:
        for batch in flow.messages():
            if isinstance(batch, GenerateBatch):
                flow.handle(flow.answer(batch))
            elif isinstance(batch, JudgeBatch):
                for item in batch.items:
                    favored = item.first.startswith(f"{batch.judge[1:]} says")
                    probability = 0.5 if batch.judge == "none" else 0.9 if favored else 0.1
                    given = flow.judge(replace(batch, items=(item,)), probability)
                    flow.handle(given)
            else:
                flow.handle(batch)
    with store.reading() as transaction:
        read = judged_pairs(transaction.ledger.connection, 2, lambda _stream: 0.05)
    assert [(pair.stream, pair.skill, {pair.model_a, pair.model_b}) for pair in read] == [
        ("default", None, {*"ab"})
    ] * 2
    for pair in read:
        for_a = 1 if pair.model_a == "a" else -1
        assert pair.sides == {"ja": for_a, "jb": -for_a}


def test_a_renamed_model_keeps_its_counts_under_its_new_name(store: Store) -> None:
    judged = Judged(store)
    judged.judge(200)
    before = judged.refitter.refit(1)
    with store.transaction() as transaction:
        transaction.preferences.add_counts([Count("judge", "x", "a", "d#5", 4, 1.0, 0.0, 0.0, 1.0)])
    models = {name: {**ENDPOINT, "model": name} for name in "abc"}
    models["z"] = {**ENDPOINT, "model": "d", "aliases": ["d"]}
    judges = {"j": {"kind": "openai", "model": {**ENDPOINT, "model": "j"}}}
    renamed = Pool.from_tables({"models": models, "judges": judges}, Path("pool.toml"))

    after = Refitter(store, renamed).refit(2)

    assert after.models == ("a", "b", "c", "z")
    pair = after.between("z", "a", "x")
    assert pair.gap == pytest.approx(before.between("d", "a", "x").gap, abs=0.05)
    assert pair.comparisons == pytest.approx(before.between("d", "a", "x").comparisons, rel=1e-3)
    assert {name for row in judged.counts() for name in (row.model_a, row.model_b)} == {"a", "b", "c", "z", "d#5"}


def test_merging_buckets_keeps_the_sums(store: Store) -> None:
    """And is done once, whoever does it again."""
    rows = [Count("judge", "x", "a", "b", bucket, 1.0, 2.0, 3.0, 6.0) for bucket in (1000, 1001, 1002, 2000)]
    with store.transaction() as transaction:
        transaction.preferences.add_counts(rows)

    for _ in range(2):
        with store.transaction() as transaction:
            transaction.preferences.merge_counts({1001: 1000, 1002: 1000})

    with store.reading() as transaction:
        assert transaction.preferences.counts() == [
            Count("judge", "x", "a", "b", 1000, 3.0, 6.0, 9.0, 18.0),
            Count("judge", "x", "a", "b", 2000, 1.0, 2.0, 3.0, 6.0),
        ]


def test_renaming_moves_what_came_before_and_keeps_who_won(store: Store) -> None:
    """The two names of a row stay in order, and wins go with their names."""
    with store.transaction() as transaction:
        transaction.preferences.add_counts(
            [
                Count("judge", "x", "b", "c", 10, 5.0, 1.0, 2.0, 8.0),
                Count("judge", "x", "b", "c", 20, 7.0, 0.0, 0.0, 7.0),
                Count("judge", "x", "a", "c", 10, 1.0, 0.0, 0.0, 1.0),
            ]
        )
        transaction.preferences.rename_counts("b", "z#20", before=20)

    with store.reading() as transaction:
        assert transaction.preferences.counts() == [
            Count("judge", "x", "a", "c", 10, 1.0, 0.0, 0.0, 1.0),
            Count("judge", "x", "b", "c", 20, 7.0, 0.0, 0.0, 7.0),
            Count("judge", "x", "c", "z#20", 10, 1.0, 5.0, 2.0, 8.0),
        ]


def test_a_swapped_model_is_followed_through_the_store(store: Store) -> None:
    """The change is remembered, no verdict is lost, and the next refit knows it without finding it again."""
    judged = Judged(store)
    judged.judge(600)
    before = judged.refitter.refit_if_due() or judged.refitter.look()
    judged.truth["a"] = 1.5
    judged.judge(250)
    after = judged.refitter.refit_if_due()
    again = Refitter(store, make_pool(MODELS)).refit(3)

    assert before is not None and after is not None
    names = {row.model_a for row in judged.counts()} | {row.model_b for row in judged.counts()}
    assert [name.split("#")[0] for name in sorted(names - set(MODELS))] == ["a"]
    assert sum(row.wins_a + row.wins_b for row in judged.counts()) == 850
    assert after.models == again.models == tuple(MODELS)
    np.testing.assert_allclose(again.mean, after.mean, atol=1e-4)
    assert before.between("a", "b", "x").gap < 0 < after.between("a", "b", "x").gap


def test_a_sharper_judge_renames_no_model_and_is_reported_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Also by another worker, which knows it from the newest snapshot."""
    stream = sharper(10, 6000, np.random.default_rng(1))
    store.clock = lambda: stream.now(6000)
    pool = make_pool("abcdefghij")
    with store.transaction() as transaction:
        transaction.preferences.add_counts(stream.counts(6000))

    first = Refitter(store, pool).refit(1)
    again = Refitter(store, pool).refit(2)

    with store.reading() as transaction:
        names = {name for row in transaction.preferences.counts() for name in (row.model_a, row.model_b)}
    assert names == set(stream.names)
    assert [change.kind for change in first.common_changes] == ["scale"]
    assert first.common_changes[0].at == pytest.approx(stream.now(3000), abs=120.0)
    assert again.common_changes == first.common_changes
    assert caplog.text.count("all competencies seemed to change") == 1


def test_a_refit_is_due_when_enough_came_or_nothing_more_comes(store: Store) -> None:
    """Two in a hundred, or fifty for each model; not for nothing new."""
    judged = Judged(store)
    assert judged.refitter.refit_if_due() is None
    judged.judge(100)
    assert judged.refitter.refit_if_due() is not None
    assert judged.refitter.refit_if_due() is None
    judged.judge(1)
    assert judged.refitter.refit_if_due() is None  # one in a hundred, and more may be coming
    assert judged.refitter.refit_if_due() is not None


def test_the_course_of_the_competencies_is_thinned_and_keeps_its_ends(store: Store) -> None:
    """Old versions are kept the sparser the older they are; a plot asks for as many as it can show."""
    judged = Judged(store)
    for _ in range(60):
        judged.judge(2, every_s=200.0)
        with store.reading() as transaction:
            version, _weight = transaction.preferences.latest_version()
        judged.refitter.refit(version + 1)

    with store.reading() as transaction:
        kept = [version for version, _ in transaction.preferences.snapshot_times()]
        course = Refits(5).read(transaction)
        whole = Refits(1000).read(transaction)

    assert (kept[0], kept[-1]) == (1, 60)
    assert 10 < len(kept) < 40
    assert [version for _, version, _ in whole] == kept
    assert (len(course), course[0][1], course[-1][1]) == (5, 1, 60)
    assert all(isinstance(snapshot, Snapshot) and snapshot.version == version for _, version, snapshot in course)
    assert [at for at, _, _ in course] == sorted(at for at, _, _ in course)


@pytest.mark.parametrize(("verifiers", "source"), [((), "judge"), (("j",), "probe")])
def test_what_a_verifier_judged_counts_as_a_probe(store: Store, verifiers: tuple[str, ...], source: str) -> None:
    """Same likelihood, another source."""
    flow = Flow(store, make_pool("ab", both_orders=False))
    flow.accept({"id": "p", "prompt": "2 + 2?", "reference": "4"})
    flow.dispatcher.admit()
    while flow.sent:
        for batch in flow.messages():
            result = flow.answer(batch) if isinstance(batch, GenerateBatch) else batch
            result = flow.judge(batch) if isinstance(batch, JudgeBatch) else result
            if isinstance(result, LearnBatch):
                with store.transaction() as transaction:
                    learn(result, transaction, verifiers=verifiers)
            else:
                flow.handle(result)

    with store.reading() as transaction:
        assert [count.source for count in transaction.preferences.counts()] == [source]
