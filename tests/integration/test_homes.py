"""A home may lie in any folder: with spaces, quotes, percent signs, question marks and letters of any alphabet."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from karma.config.environment import Environment
from karma.errors import BrokerError
from karma.queue.redis import connect
from karma.store import Store
from karma_cli.local.redis_server import RedisServer
from tests.support import needs
from tests.support.pipeline import ROOT, Pipeline
from tests.support.redis_server import Redis

ODD_NAMES = [
    *("a b", "it's", 'say "x"', "100%", "%41%25%(x)s", "why?", "a#b@c:d", "日本 é", "back\\slash", "a[b]*?"),
    "line\nbreak",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_embedded_redis_starts_in_any_folder_and_keeps_its_data_there(tmp_path: Path, name: str) -> None:
    needs.redis()
    home = tmp_path / name
    for expected in (None, b"kept"):
        server = RedisServer(home)
        try:
            client = connect(server.start())
            assert client.config_get("bind")["bind"] == "127.0.0.1"
            assert client.config_get("requirepass")["requirepass"]
            assert client.get("key") == expected
            client.set("key", "kept")
        finally:
            server.stop()
    assert list((home / "redis" / "appendonlydir").iterdir())
    assert "Ready to accept connections" in (home / "logs" / "redis.log").read_text()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_store_lies_in_the_home_itself(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    store = Store(Environment.read({"KARMA_HOME": str(home)}).database_url)
    store.migrate()
    store.close()
    with sqlite3.connect(home / "karma.db") as connection:
        assert connection.execute("SELECT count(*) FROM prompts").fetchone() == (0,)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert str(home) in store.shown_url


def test_karma_itself_may_lie_in_a_folder_with_a_percent_sign(tmp_path: Path) -> None:
    package = tmp_path / "100% %(here)s"
    shutil.copytree(ROOT / "shared", package, ignore=shutil.ignore_patterns("__pycache__"))
    url = f"sqlite:///{tmp_path / 'karma.db'}"
    program = f"from karma.store import Store; Store({url!r}).migrate()"
    environment = {**os.environ, "PYTHONPATH": str(package)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert (tmp_path / "karma.db").exists()


def test_what_a_server_printed_that_did_not_start_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\ncat >&2\necho '1:M 28 Nov 2026 23:55:54.019 # no such luck' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(
        BrokerError, match=r"did not start: .*; requirepass \(password\); no such luck \(log: "
    ) as error:
        RedisServer(tmp_path / "home").start()
    log = Path(str(error.value).rpartition("(log: ")[2].rstrip(")"))
    assert "no such luck" in log.read_text()


def test_nothing_of_the_working_folder_is_imported_and_the_home_is_private(tmp_path: Path) -> None:
    """A folder of somebody else's may hold a module of any name."""
    for name in ("redis", "celery", "msgspec", "karma_gateway", "tomllib"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\n")
    karma = Pipeline(tmp_path / "home", '[judges.j]\nkind = "prior"\n')
    program = Path(sys.executable).with_name("karma")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        up = subprocess.run(
            [program, "up", "--detach", "--no-check", "--no-page"],
            check=False,
            env=karma.environment,
            capture_output=True,
            text=True,
        )
        workers = karma.call("status", "--json").stdout
    finally:
        os.chdir(before)
        karma.call("down")
    assert up.returncode == 0, up.stderr
    assert '"scoring"' in workers
    assert not (tmp_path / "imported").exists()
    written = [path for path in (tmp_path / "home").rglob("*") if path.name != "pool.toml"]
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in written if path.stat().st_mode & 0o007} == {}


def test_a_token_for_a_home_that_is_not_there_yet_makes_it_private(tmp_path: Path) -> None:
    new = tmp_path / "new"
    both = Pipeline(tmp_path / "home", '[judges.j]\nkind = "prior"\n').call("token", "--read", "--revoke", check=False)
    assert (both.returncode, "leave out --read" in both.stderr) == (2, True)
    done = Pipeline(tmp_path / "home", '[judges.j]\nkind = "prior"\n').run("token", "--home", str(new))
    assert done.stdout.startswith("#token=")
    assert "no page runs in" in done.stderr
    assert new.stat().st_mode & 0o777 == 0o700


def test_a_pipeline_in_the_background_says_that_a_redis_of_your_own_carries_unsigned_messages(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis")
    karma = Pipeline(tmp_path / "home", '[judges.j]\nkind = "prior"\n', redis_url=server.start())
    try:
        said = karma.run("up", "--detach", "--no-check", "--no-page").stderr
        karma.run("down")
    finally:
        server.stop()
    assert "messages are not signed" in said
    nowhere = karma.run("refused", check=False)
    assert (nowhere.returncode, ".." in nowhere.stderr) == (1, False)
    assert "refused messages are kept in Redis" in nowhere.stderr
