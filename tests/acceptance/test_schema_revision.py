"""Workers whose store is at another revision, or refuses what they do: no attempt is counted and nothing is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from karma.messages import Answer, Header, ScoreBatch
from karma.queue.backlog import queue_state
from karma.queue.celery_app import Publisher
from karma.queue.claims import RELEASED
from karma.queue.redis import CLAIMS_KEY, connect, current_incarnation
from karma.store import Store
from karma.store.schema import REVISION
from karma_gateway.ingest import Line, take
from tests.support import databases
from tests.support.instant import POOL
from tests.support.pipeline import Pipeline, wait_until
from tests.support.postgresql import PostgreSQL
from tests.support.redis_server import Redis
from tests.support.verifier import assert_exact, read
from tests.support.workers import Workers, workers

PROMPTS = 30
SERVICES = ("gateway", "scoring", "matching", "generation", "judging")
STORE_SERVICES = ("gateway", "scoring", "matching", "page")

#: Batches in question are looked at soon, and no worker starts anything by its own idea of what is lost.
LIMITS = "[pipeline]\nclaim_silence_s = 6\npublish_grace_s = 60\nbatch_items = 4\n"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server of this module's own."""
    with databases.server() as server:
        yield server


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis server of this module's own."""
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database without any schema."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'karma.db'}"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    execute(server.url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return server.url


@pytest.fixture
def running(url: str, redis: Redis, tmp_path: Path) -> Iterator[Workers]:
    """Workers on the database and an empty Redis; none is started yet."""
    redis.client.flushall()
    karma = Pipeline(tmp_path / "home", LIMITS + POOL, "tests.support.instant", url, redis.url)
    karma.environment["KARMA_PAGE_PORT"] = "0"
    with workers(karma) as made:
        yield made


def engine(url: str) -> Engine:
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def execute(url: str, *statements: str) -> None:
    """Run statements in one transaction."""
    opened = engine(url)
    with opened.connect() as connection, connection.begin():
        for statement in statements:
            connection.exec_driver_sql(statement)
    opened.dispose()


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    opened = engine(url)
    with opened.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
    opened.dispose()
    return found


def accept(url: str, first: int, count: int) -> None:
    """Accept prompts, as `karma enqueue` does."""
    store = Store(url)
    lines = [
        Line("t", n, json.dumps({"id": f"p{n}", "prompt": f"Say {n}."}).encode()) for n in range(first, first + count)
    ]
    assert not take(store, "default", lines, max_bytes=1 << 20).refused
    store.close()


def attempts(url: str) -> int:
    """The most attempts that are counted at any open work, and dead prompts."""
    query = "SELECT coalesce(max(attempts + result_attempts), 0) FROM work_items"
    return int(rows(url, query)[0][0]) + int(read(url)["dead"])


def all_ended(url: str, count: int, running: Workers, deadline_s: float = 60) -> None:
    try:
        wait_until(lambda: read(url)["ended"] == count, deadline_s, f"{count} prompts ended", every_s=0.2)
    except AssertionError as late:
        raise AssertionError(f"{late}; {read(url)}\n{running.logs()}") from None
    assert assert_exact(url, count)["dead"] == 0


def never(condition: Callable[[], object], for_s: float, what: str) -> None:
    """Fail as soon as the condition holds within the time."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        assert not condition(), what
        time.sleep(0.1)


def first_revision_with_answers_in_flight(url: str, redis: Redis) -> int:
    """A store at revision 0001 whose prompts all wait for answers that lie in the queue `score`; returns messages."""
    store = Store(url)
    store.migrate("0001")
    store.close()
    epoch = current_incarnation(redis.client)
    execute(
        url,
        "INSERT INTO streams VALUES ('default', 1.0)",
        *(
            "INSERT INTO prompts (id, stream, prompt_id, content_hash, messages, priority, state, awaited, accepted_at)"
            f" VALUES ({n}, 'default', 'p{n}', 'h{n}', '[{{\"role\": \"user\", \"content\": \"Say {n}.\"}}]', 0, "
            "'dispatched', 2, 1.0)"
            for n in range(1, PROMPTS + 1)
        ),
        *(
            "INSERT INTO batches (id, token, stage, target, stream, priority, created_at, published_at, epoch) "
            f"VALUES ('{model}{n}', 't', 'generate', '{model}', 'default', 0, 1.0, {time.time()}, '{epoch}')"
            for n in range(1, PROMPTS + 1)
            for model in "ab"
        ),
        *(
            "INSERT INTO work_items (id, prompt, stage, target, batch) "
            f"VALUES ({2 * n + 'ab'.index(model)}, {n}, 'generate', '{model}', '{model}{n}')"
            for n in range(1, PROMPTS + 1)
            for model in "ab"
        ),
    )
    messages = [
        ScoreBatch(
            header=Header(stream="default", batch=f"{model}{n}", token="t", epoch=epoch, published_at=time.time()),
            items=(Answer(item=2 * n + "ab".index(model), prompt=n, model=model, sample=0, text=f"{model} says {n}"),),
        )
        for n in range(1, PROMPTS + 1)
        for model in "ab"
    ]
    Publisher(connect(redis.url)).publish(messages)
    return len(messages)


@pytest.mark.parametrize("url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.ci)], indirect=True)
def test_a_worker_that_starts_before_the_migration_takes_nothing_says_so_once_and_goes_on_after_it(
    url: str, redis: Redis, running: Workers
) -> None:
    waiting = first_revision_with_answers_in_flight(url, redis)
    scoring, matching = running.start("scoring"), running.start("matching")
    for worker in (scoring, matching):
        worker.wait_for("waiting for the store's schema")
    never(lambda: redis.client.zcard(CLAIMS_KEY), 3, "a batch was claimed")
    assert queue_state(redis.client, ["score"], 0.0)["score"][0] == waiting
    for worker in (scoring, matching):
        assert len(worker.log.splitlines()) == 1, worker.log
        assert f"is at revision 0001, this version needs {REVISION}; a gateway of this version migrates" in worker.log
    running.start("gateway").wait_for("is ready")
    running.start("judging")
    all_ended(url, PROMPTS, running)
    assert len(scoring.lines_with("waiting for the store's schema: the store")) == 1, scoring.log
    assert rows(url, "SELECT count(*) FROM responses WHERE failure IS NULL") == [(2 * PROMPTS,)]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_worker_on_an_empty_database_waits_and_ends_at_once_on_sigterm(running: Workers) -> None:
    scoring = running.start("scoring")
    scoring.wait_for("waiting for the store's schema")
    assert "has no tables yet; a gateway of this version creates them" in scoring.log
    started = time.monotonic()
    scoring.stop()
    assert time.monotonic() - started < 5
    assert "Traceback" not in scoring.log


@pytest.mark.parametrize("url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
def test_processes_whose_store_is_migrated_by_a_newer_version_end_with_one_sentence_and_count_no_attempt(
    url: str, running: Workers
) -> None:
    """The newer version renamed a column: the answers in scoring's hand cannot be recorded, and are released."""
    databases.migrate(url)
    old = [running.start(service) for service in STORE_SERVICES]
    running.start("generation")
    running.start("judging")
    accept(url, 0, PROMPTS)
    all_ended(url, PROMPTS, running)
    execute(url, "ALTER TABLE responses RENAME COLUMN finish_reason TO ended_because")
    accept(url, PROMPTS, PROMPTS)
    old[1].wait_for("score: record: ")
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    for worker in old:
        assert worker.process.wait(30) == 78, f"{worker.service}:\n{worker.log}"
        assert len(worker.lines_with("this process ends")) == 1, worker.log
        assert "Traceback" not in worker.log
    late = running.start("scoring")
    assert late.process.wait(30) == 78
    assert len(late.log.splitlines()) == 1, late.log
    execute(
        url,
        "ALTER TABLE responses RENAME COLUMN ended_because TO finish_reason",
        f"UPDATE alembic_version SET version_num = '{REVISION}'",
    )
    for service in ("gateway", "scoring", "matching"):
        running.start(service)
    all_ended(url, 2 * PROMPTS, running)
    redelivered = [line for each in running.started for line in each.lines_with("are redelivered")]
    assert redelivered
    assert all(f"are redelivered: {RELEASED}" in line for line in redelivered), redelivered


def assert_held(url: str, running: Workers, words: str, ended: int) -> None:
    """Scoring says once that the store refuses its work, holds it, and no attempt is counted."""
    scoring = next(worker for worker in running.started if worker.service == "scoring")
    wait_until(lambda: words in scoring.log or attempts(url), 30, "the store's refusal is met")
    never(lambda: attempts(url), 5, "an attempt was counted")
    assert len(scoring.lines_with("score: record: ")) == 1, scoring.log
    assert "Traceback" not in scoring.log
    assert scoring.process.poll() is None
    assert read(url)["ended"] == ended


@pytest.mark.parametrize("url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
def test_a_missing_column_is_waited_out_and_is_no_attempt(url: str, running: Workers) -> None:
    databases.migrate(url)
    for service in SERVICES:
        running.start(service)
    accept(url, 0, PROMPTS)
    all_ended(url, PROMPTS, running)
    execute(url, "ALTER TABLE responses RENAME COLUMN finish_reason TO hidden")
    accept(url, PROMPTS, PROMPTS)
    assert_held(url, running, "finish_reason", PROMPTS)
    execute(url, "ALTER TABLE responses RENAME COLUMN hidden TO finish_reason")
    all_ended(url, 2 * PROMPTS, running)


@pytest.mark.ci
def test_a_right_that_is_revoked_is_waited_for_and_is_no_attempt(
    postgresql: PostgreSQL, redis: Redis, tmp_path: Path
) -> None:
    redis.client.flushall()
    url = postgresql.url
    execute(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "DROP ROLE IF EXISTS recorder")
    databases.migrate(url)
    execute(
        url,
        "CREATE ROLE recorder LOGIN",
        "GRANT USAGE ON SCHEMA public TO recorder",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO recorder",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO recorder",
    )
    karma = Pipeline(tmp_path / "home", LIMITS + POOL, "tests.support.instant", url, redis.url)
    with workers(karma) as running:
        as_recorder = {"KARMA_DATABASE_URL": url.replace("karma@", "recorder@")}
        for service in SERVICES:
            running.start(service, environment=as_recorder if service in ("scoring", "matching") else None)
        accept(url, 0, PROMPTS)
        all_ended(url, PROMPTS, running)
        execute(url, "REVOKE INSERT ON responses FROM recorder")
        accept(url, PROMPTS, PROMPTS)
        assert_held(url, running, "permission denied for table responses", PROMPTS)
        execute(url, "GRANT INSERT ON responses TO recorder")
        all_ended(url, 2 * PROMPTS, running)
