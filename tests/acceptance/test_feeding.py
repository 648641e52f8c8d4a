"""`karma enqueue` as a process that follows a file or a Redis stream, and is killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from karma.store import Store
from tests.support.pipeline import KARMA, wait_until
from tests.support.redis_server import Redis


class Feed:
    """A home whose store `karma enqueue` fills."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        store = Store(f"sqlite:///{home}/karma.db")
        store.create()
        store.close()

    @contextmanager
    def running(self, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """The command; killed at the end, if it still runs."""
        environment = {**os.environ, "KARMA_HOME": str(self.home), **variables}
        command = [*KARMA, "enqueue", *arguments]
        process = subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)
            assert process.stderr is not None
            process.stderr.close()

    def prompts(self) -> list[str]:
        with sqlite3.connect(f"file:{self.home}/karma.db?mode=ro", uri=True) as connection:
            return [id_ for (id_,) in connection.execute("SELECT prompt_id FROM prompts ORDER BY id")]

    def wait(self, *ids: str) -> None:
        wait_until(lambda: self.prompts() == list(ids), 30, f"{ids} are accepted, not {self.prompts()}")


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    return Feed(tmp_path / "home")


def line(id_: str) -> str:
    return json.dumps({"id": id_, "prompt": f"prompt {id_}"}) + "\n"


def test_a_followed_file_is_taken_line_by_line_through_a_kill_and_ends_with_its_receipt(
    feed: Feed, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(line("a"))
    with feed.running(str(path), "--follow") as process:
        feed.wait("a")
        process.send_signal(signal.SIGKILL)
    with path.open("a") as file, feed.running(str(path), "--follow") as process:
        file.write(line("b") + line("c")[:-3])
        file.flush()
        feed.wait("a", "b")
        file.write(line("c")[-3:])
        file.flush()
        feed.wait("a", "b", "c")
        process.send_signal(signal.SIGTERM)
        _out, said = process.communicate(timeout=20)
        assert process.returncode == 0, said
        assert "2 accepted, 1 already present, 0 refused" in said


def test_entries_of_a_consumer_that_was_killed_after_its_commit_are_neither_lost_nor_doubled(
    feed: Feed, tmp_path: Path
) -> None:
    redis, faults = Redis(tmp_path / "redis"), tmp_path / "faults"
    redis.start()
    faults.mkdir()
    (faults / "ingest.after_commit").write_text("1")
    try:
        for id_ in "ab":
            redis.client.xadd("prompts", {"json": line(id_)})
        with feed.running("redis:prompts", KARMA_SOURCE_REDIS_URL=redis.url, KARMA_TEST_FAULTS=str(faults)) as process:
            assert process.wait(30) == 137
        feed.wait("a", "b")
        assert redis.client.xpending("prompts", "karma")["pending"] == 2
        _age(redis)
        redis.client.xadd("prompts", {"json": line("c")})
        with feed.running("redis:prompts", KARMA_SOURCE_REDIS_URL=redis.url) as process:
            _out, said = process.communicate(timeout=30)
        assert "1 accepted, 2 already present, 0 refused" in said
        assert feed.prompts() == ["a", "b", "c"]
        assert redis.client.xpending("prompts", "karma")["pending"] == 0
    finally:
        redis.stop()


def _age(redis: Redis) -> None:
    """Make the pending entries a minute older, as Redis counts it."""
    (found,) = redis.client.xinfo_consumers("prompts", "karma")
    ids = [each["message_id"] for each in redis.client.xpending_range("prompts", "karma", "-", "+", 10)]
    redis.client.xclaim("prompts", "karma", found["name"], 0, ids, idle=61_000)
