"""Prompts from a Redis stream: acknowledged after their commit, and taken over from a consumer that crashed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from karma.errors import BrokerError, SettingsError
from karma_gateway.sources.items import Fault, Item, Line, Row
from karma_gateway.sources.redis_stream import stream_chunks
from tests.support.command import call
from tests.support.redis_server import Redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis(server: Redis) -> Any:
    server.client.flushall()
    return server.client


def read(server: Redis, idle_ms: int = 60_000) -> list[Item]:
    return [item for chunk in stream_chunks(server.url, "prompts", "g", False, idle_ms) for item in chunk]


def pending(redis: Any) -> int:
    return int(redis.xpending("prompts", "g")["pending"])


def test_entries_are_lines_of_json_or_rows_of_texts_and_each_is_read_once(server: Redis, redis: Any) -> None:
    line = json.dumps({"prompt": "a"})
    one, two = redis.xadd("prompts", {"json": line}), redis.xadd("prompts", {"prompt": "b", "skill": b"\xff"})
    assert read(server) == [
        Line(f"redis:prompts/{one.decode()}", 0, line.encode()),
        Row(f"redis:prompts/{two.decode()}", 0, {"prompt": "b", "skill": "\udcff"}),
    ]
    assert read(server) == []
    assert (pending(redis), redis.xinfo_consumers("prompts", "g")) == (0, [])


def test_an_entry_is_acknowledged_only_after_the_next_chunk_is_asked_for(server: Redis, redis: Any) -> None:
    redis.xadd("prompts", {"prompt": "a"})
    chunks = stream_chunks(server.url, "prompts", "g", False)
    assert len(next(chunks)) == 1
    assert pending(redis) == 1
    assert list(chunks) == []
    assert pending(redis) == 0


def test_what_a_crashed_consumer_left_is_taken_over_once_it_is_idle(server: Redis, redis: Any) -> None:
    for n in range(3):
        redis.xadd("prompts", {"prompt": str(n)})
    with closing(stream_chunks(server.url, "prompts", "g", False)) as crashed:
        assert len(next(crashed)) == 3
    assert read(server) == []  # it may still be at work
    redis.xadd("prompts", {"prompt": "3"})
    assert [item.fields["prompt"] for item in read(server, idle_ms=0) if isinstance(item, Row)] == ["0", "1", "2", "3"]
    assert pending(redis) == 0


def test_an_entry_that_was_trimmed_before_it_was_taken_over_is_said(server: Redis, redis: Any) -> None:
    id_ = redis.xadd("prompts", {"prompt": "a"})
    with closing(stream_chunks(server.url, "prompts", "g", False)) as crashed:
        next(crashed)
    redis.xdel("prompts", id_)
    (fault,) = read(server, idle_ms=0)
    assert isinstance(fault, Fault) and fault.reason == "the stream was trimmed before this entry was taken"


def test_a_key_that_is_no_stream_and_a_redis_that_is_not_there_are_said(server: Redis, redis: Any) -> None:
    with pytest.raises(SettingsError, match="redis:prompts: there is no such stream; with --follow it is waited for"):
        read(server)
    redis.lpush("prompts", "x")
    with pytest.raises(SettingsError, match="redis:prompts: holds a list, expected a stream"):
        read(server)
    with pytest.raises(BrokerError, match="no Redis answers"):
        list(stream_chunks("redis://127.0.0.1:1/0", "prompts", "g", False))


def test_the_command_takes_a_stream_and_acknowledges_what_it_refuses(server: Redis, redis: Any, tmp_path: Path) -> None:
    for prompt in ("a", "", "b"):
        redis.xadd("prompts", {"prompt": prompt, "source": "web"})
    surroundings = {"KARMA_HOME": str(tmp_path), "KARMA_SOURCE_REDIS_URL": server.url, "PATH": "/usr/bin:/bin"}
    refused = call("enqueue", "redis:prompts", "--strict", environment=surroundings)
    assert (refused.returncode, "--strict reads everything first" in refused.stderr) == (2, True)
    done = call("enqueue", "redis:prompts", "--group", "g", environment=surroundings)
    assert done.returncode == 1
    assert "`prompt` is empty" in done.stderr
    assert "2 accepted, 0 already present, 1 refused" in done.stderr
    assert pending(redis) == 0
