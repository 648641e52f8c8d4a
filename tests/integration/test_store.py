"""The store on real databases: the same flow, the same rules, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import update

from karma.errors import SettingsError, StoreError, StoreOutageError
from karma.messages import GenerateBatch, JudgeBatch, MatchBatch, ScoreBatch
from karma.ranking.snapshot import Snapshot
from karma.store import Store, database
from karma.store.counting import prompts_without_pair, resolutions_by_outcome
from karma.store.export_filter import ExportFilter
from karma.store.pair_rows import pair_records_after
from karma.store.preference_quality import preference_quality
from karma.store.schema import REVISION, metadata, responses
from karma.store.streams import recorded_goals
from karma_monitor.figures.preferences import preference_figures
from tests.support.earlier_schema import take_back
from tests.support.memory import Flow, make_pool


def test_all_migrations_together_equal_the_schema(store: Store) -> None:
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_revision_that_needs_no_migration_is_the_newest_one() -> None:
    script = ScriptDirectory(str(files("karma.store") / "migrations"))
    assert script.get_current_head() == REVISION


def test_a_store_of_every_earlier_revision_comes_to_the_same_schema_and_keeps_what_it_holds(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"id": "p", "prompt": "x"})
    script = ScriptDirectory(str(files("karma.store") / "migrations"))
    for revision in script.walk_revisions():
        with store.engine.connect() as connection, connection.begin():
            for table in reversed(metadata.sorted_tables):
                connection.exec_driver_sql(f"DROP TABLE {table.name}")
            connection.exec_driver_sql("DROP TABLE alembic_version")
        store.migrate(revision.revision)
        with store.engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("INSERT INTO streams (name, created_at) VALUES ('default', 1.0)")
            connection.exec_driver_sql(
                "INSERT INTO prompts (stream, prompt_id, content_hash, messages, priority, state, awaited, "
                "accepted_at) VALUES ('default', 'p', 'h', '[]', 0, 'dispatched', 1, 1.0)"
            )
            token = ("token, ", "'t', ") if revision.revision < "0007" else ("", "")
            connection.exec_driver_sql(
                f"INSERT INTO batches (id, {token[0]}stage, target, stream, priority, created_at) "
                f"VALUES ('b', {token[1]}'generate', 'a', 'default', 0, 1.0)"
            )
            connection.exec_driver_sql(
                "INSERT INTO work_items (prompt, stage, target, batch) SELECT id, 'generate', 'a', 'b' FROM prompts"
            )
        store.migrate()
        with store.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        with store.reading() as transaction:
            (row,) = transaction.work.carried()
            (item,) = transaction.work.items_of(row.id)
            assert (row.due_at, item.attempts, item.result_attempts) == (0.0, 0, 0)
            goal = recorded_goals(transaction.ledger.connection, ["default"])["default"]
        assert goal == ("label" if revision.revision < "0010" else None)


def test_counts_of_an_earlier_version_are_made_anew_from_the_pairs(store: Store) -> None:
    flow = Flow(store, make_pool("abcd", stream={"policy": "all-pairs", "pairs_per_prompt": 0}))
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}.", "skill": "x" if n % 2 else ""} for n in range(20)))
    flow.finish()
    with store.reading() as transaction:
        right = transaction.preferences.counts()
    assert len(right) > 6
    widest = min(row.bucket for row in right) - 3  # the earlier version had merged all buckets into this one
    names = "source, skill, model_a, model_b, bucket, wins_a, wins_b, ties, squares"
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM competency_counts")
        connection.exec_driver_sql(
            f"INSERT INTO competency_counts ({names}) VALUES ('judge', '', 'a#7', 'b', {widest}, 9, 9, 9, 27)"
        )
    take_back(store, "0007")

    store.migrate()

    with store.reading() as transaction:
        made = transaction.preferences.counts()
    expected: dict[tuple[str, ...], list[float]] = {}
    for row in right:
        cell = expected.setdefault(row[:4], [0.0] * 4)
        cell[:] = [one + other for one, other in zip(cell, row[5:], strict=True)]
    assert {row[:4]: row[5:] for row in made} == {key: pytest.approx(cell) for key, cell in expected.items()}
    assert {row.bucket for row in made} == {widest}


def test_a_reading_is_all_of_one_moment(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "p"})
    with store.reading() as transaction:
        before = transaction.ledger.count_states()
        with ThreadPoolExecutor(1) as other:
            other.submit(flow.accept, {"prompt": "q"}).result(timeout=20)
        assert transaction.ledger.count_states() == before
    with store.reading() as transaction:
        assert transaction.ledger.count_states()["accepted"] == 2


def test_what_hangs_is_cut_and_what_may_take_long_is_not(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_WATCH_EVERY_S", 0.1)
    store = Store(postgresql_url)
    store.watch()
    try:
        with store.reading(limit_s=30.0) as transaction:
            transaction.ledger.connection.exec_driver_sql("SELECT pg_sleep(1.5)")
        with pytest.raises(StoreOutageError), store.reading(limit_s=0.5) as transaction:
            transaction.ledger.connection.exec_driver_sql("SELECT pg_sleep(60)")
    finally:
        store.close()


def test_sqlite_never_gives_the_number_of_closed_work_to_other_work(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'karma.db'}")
    store.migrate()
    with store.engine.connect() as connection:
        assert (
            "AUTOINCREMENT"
            in connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'work_items'").scalar_one()
        )
    store.close()


def test_migrating_twice_changes_nothing(store: Store) -> None:
    store.migrate()
    with store.reading() as transaction:
        assert sum(transaction.ledger.count_states().values()) == 0


@pytest.mark.parametrize("deliveries", [1, 2])
def test_every_prompt_ends_once_however_often_messages_come(store: Store, deliveries: int) -> None:
    flow = Flow(store)
    flow.accept(*({"prompt": f"p{n}", "skill": "even" if n % 2 else None} for n in range(50)))
    flow.finish(deliveries)
    with store.reading() as transaction:
        assert transaction.ledger.count_states()["done"] == 50
        assert resolutions_by_outcome(transaction.ledger.connection)["decisive", "judge"] == 50
        assert transaction.preferences.counted_verdicts() == 50
        assert transaction.work.open_by_target("generate") == {}
        assert transaction.work.open_by_target("judge") == {}


def test_a_late_second_answer_does_not_replace_the_first(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "p"})
    flow.dispatcher.admit()
    first, second = flow.messages()
    assert isinstance(first, GenerateBatch)
    assert isinstance(second, GenerateBatch)
    flow.handle(flow.answer(first, text="early"))
    flow.handle(flow.answer(first, text="late"))
    flow.handle(flow.answer(first, failure="later still"))
    with store.reading() as transaction:
        texts = [
            row.text for row in transaction.preferences.responses_of([first.items[0].prompt])[first.items[0].prompt]
        ]
    assert texts == ["early"]


def test_a_failed_answer_ends_the_prompt_without_a_pair_and_with_the_reason(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "p"})
    flow.dispatcher.admit()
    good, bad = flow.messages()
    flow.handle(flow.answer(good))  # type: ignore[arg-type]
    flow.handle(flow.answer(bad, failure="timed out"))  # type: ignore[arg-type]
    (matching,) = flow.messages()
    assert isinstance(matching, MatchBatch)
    flow.handle(matching)
    with store.reading() as transaction:
        assert prompts_without_pair(transaction.ledger.connection).total() == 1
        assert transaction.ledger.count_states()["done"] == 1


def test_an_answer_for_another_prompt_than_its_item_is_ignored(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "p"}, {"prompt": "q"})
    flow.dispatcher.admit()
    batch = flow.messages()[0]
    assert isinstance(batch, GenerateBatch)
    honest = flow.answer(batch)
    one, other = honest.items
    import msgspec

    forged = msgspec.structs.replace(honest, items=(msgspec.structs.replace(one, prompt=other.prompt),))
    flow.handle(forged)
    with store.reading() as transaction:
        assert transaction.preferences.responses_of([one.prompt, other.prompt]) == {}


def test_given_responses_go_straight_to_scoring(store: Store) -> None:
    flow = Flow(store)
    flow.accept({"prompt": "p", "responses": {"x": "short", "y": "much longer"}})
    flow.dispatcher.admit()
    (message,) = flow.messages()
    assert isinstance(message, ScoreBatch)
    assert [(answer.model, answer.text) for answer in message.items] == [("x", "short"), ("y", "much longer")]
    flow.handle(message)
    flow.finish()
    with store.reading() as transaction:
        (row,) = transaction.preferences.export_rows(0, 10, ExportFilter())
        near, apart = (ExportFilter(max_length_ratio=most) for most in (11 / 5, 2.1))
        found = [len(transaction.preferences.export_rows(0, 10, kept)) for kept in (near, apart)]
        left_out = [transaction.preferences.too_unequal(kept) for kept in (near, apart)]
    assert (found, left_out) == ([1, 0], [0, 1])
    assert (row.chosen_text, row.rejected_text) == ("much longer", "short")


def test_a_pair_is_read_with_the_competencies_of_its_forming_and_its_quality(store: Store) -> None:
    cold = Snapshot.empty(("x", "y"))
    flow = Flow(store)
    flow.snapshot = replace(cold, mean=cold.mean + np.array([[0.5, -0.25, 0.0]]))
    given = {"x": "Answer: four, I am sure", "y": "Answer: five"}  # the longer one is chosen
    flow.accept({"prompt": "p", "responses": given})
    flow.accept({"prompt": "q", "responses": {"x": "a long answer", "z": "short"}})
    flow.finish()
    with store.transaction() as transaction:
        for model, quality in (("x", 0.75), ("y", 0.5)):
            of_first = (responses.c.model == model) & (responses.c.prompt == 1)
            transaction.ledger.connection.execute(update(responses).where(of_first).values(quality=quality))
    with store.reading() as transaction:
        found = preference_figures(preference_quality(pair_records_after(transaction.ledger.connection, 0, 10)))
    (one,) = found
    assert (one["preferences"], one["rated"], one["scored"]) == (2, 1, 1)
    assert (one["chosen_competency"], one["rejected_competency"]) == (0.5, -0.25)
    assert (one["chosen_quality"], one["rejected_quality"]) == (0.75, 0.5)


def test_a_redelivered_match_chooses_nothing_anew(store: Store) -> None:
    flow = Flow(store)
    flow.accept({"prompt": "p", "responses": {"x": "one", "y": "two", "z": "three"}})
    flow.dispatcher.admit()
    flow.handle(flow.messages()[0])
    (matching,) = flow.messages()
    flow.handle(matching)
    judged = flow.messages()
    flow.handle(matching)
    assert flow.messages() == []
    assert len(judged) == 1
    assert isinstance(judged[0], JudgeBatch)


def test_the_last_answer_is_never_missed_when_two_come_at_once(store: Store) -> None:
    """The fan-in: two transactions at the same moment, one for each model, over the same prompts."""
    flow = Flow(store, make_pool("ab"))
    for round_ in range(10):
        flow.accept(*({"prompt": f"{round_}/{n}"} for n in range(20)))
        flow.dispatcher.admit()
        results = [flow.answer(batch) for batch in flow.messages()]  # type: ignore[arg-type]
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(flow.handle, results))
        flow.finish()
    with store.reading() as transaction:
        assert transaction.ledger.count_states()["done"] == 200


def test_priority_goes_before_order_of_acceptance(store: Store) -> None:
    from karma_gateway.ingest import Line, take

    for priority, name in ((0, b'{"prompt":"late"}'), (9, b'{"prompt":"urgent"}')):
        take(store, "s", [Line("t", 1, name)], max_bytes=100, priority=priority)
    with store.transaction() as transaction:
        assert [(row.name, row.priority) for row in transaction.ledger.wanting()] == [("s", 9)]
        assert len(transaction.ledger.waiting("s", 9, 10)) == 1


def test_an_unknown_database_is_refused_with_what_is_known() -> None:
    with pytest.raises(SettingsError, match="of a database that KARMA does not know; expected sqlite"):
        Store("mysql://x/y")


def test_a_store_that_cannot_be_opened_says_so_without_the_password() -> None:
    store = Store("postgresql://karma:secret@127.0.0.1:1/none")
    with pytest.raises(StoreError) as error:
        store.migrate()
    assert "secret" not in str(error.value)
