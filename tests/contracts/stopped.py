"""A stream that was stopped in the middle: what is kept of it, and how it is brought back.

A folder `REVISION/DATABASE` holds the store, Redis, and what `stopped_stream` counted in them; `REVISION/pool.toml` is
the pool file.
"""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

#: Stages whose messages carry results: nothing of them may be asked again while Redis is kept.
RESULT_QUEUES = ("score", "learn")

#: When it was stopped, as seen from when it goes on: every claim is silent by then, and no end of work forgotten.
STOPPED_FOR_S = 12.0


@dataclass(frozen=True)
class Stopped:
    """A stopped stream on one kind of database."""

    folder: Path

    def __str__(self) -> str:
        return f"{self.folder.parent.name}-{self.folder.name}"

    @property
    def pool(self) -> str:
        return (self.folder.parent / "pool.toml").read_text()

    @cached_property
    def expected(self) -> dict[str, Any]:
        return json.loads((self.folder / "expected.json").read_text())

    @cached_property
    def redis(self) -> dict[str, Any]:
        return json.loads(gzip.decompress((self.folder / "redis.json.gz").read_bytes()))

    @property
    def queues(self) -> dict[str, list[str]]:
        """The texts of the messages that wait, by the Redis list that they wait in."""
        return queues(self.redis)

    @property
    def kept(self) -> dict[str, str]:
        """The texts of the results that a worker had in hand, by its claim."""
        return kept(self.redis)

    def results(self, *stages: str) -> list[dict[str, Any]]:
        """What is in flight as a result of the stages `score` or `learn`: waiting, or in a dead worker's hand."""
        texts = [text for name, found in self.queues.items() if stage_of(name) in stages for text in found]
        texts += [text for claim, text in self.kept.items() if claim.partition(":")[0] in stages]
        return [item for text in texts for item in json.loads(text)["items"]]

    def bring_back_sqlite(self, path: Path) -> None:
        """Put the store there."""
        path.write_bytes(gzip.decompress((self.folder / "karma.db.gz").read_bytes()))

    def bring_back_postgresql(self, url: str) -> None:
        """Put the store into an empty database."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(gzip.decompress((self.folder / "karma.sql.gz").read_bytes()))

    def bring_back_redis(self, client: Any, url: str, same_life: bool) -> None:
        """Fill an empty Redis.

        Args:
            client: of the Redis.
            url: of the store, brought back.
            same_life: whether it is to look as if Redis had stayed up: the run id of its server then takes the place
                of the old one wherever that is written, in the store too.
        """
        old = new = self.redis["run_id"]
        if same_life:
            new = client.info("server")["run_id"]
            change(url, f"UPDATE batches SET epoch = replace(epoch, '{old}', '{new}')")
        seconds, micros = client.time()
        later = seconds + micros / 1e6 - STOPPED_FOR_S - self.redis["stopped_at"]
        for name, key in self.redis["keys"].items():
            value = key["value"]
            match key["type"]:
                case "string":
                    client.set(name, value.replace(old, new))
                case "list":
                    client.rpush(name, *(_replaced(one, old, new) for one in value))
                case "set":
                    client.sadd(name, *value)
                case "hash":
                    client.hset(name, mapping={field: text.replace(old, new) for field, text in value.items()})
                case "zset":
                    client.zadd(name, {member: score + later for member, score in value.items()})


def stage_of(name: str) -> str:
    """The stage whose messages wait in a Redis list."""
    return name.partition("\x06")[0].partition(".")[0]


def queues(redis: dict[str, Any]) -> dict[str, list[str]]:
    """The texts of the messages that wait, oldest first, by the Redis list that they wait in."""
    found = {}
    for name, key in redis["keys"].items():
        if key["type"] == "list" and not name.startswith("karma:"):
            found[name] = [_text(entry) for entry in reversed(key["value"])]
    return found


def kept(redis: dict[str, Any]) -> dict[str, str]:
    """The texts of the results in hand, by claim."""
    return redis["keys"].get("karma:kept", {"value": {}})["value"]


def _text(entry: str) -> str:
    """The message in an entry of one of Celery's lists."""
    return json.loads(base64.b64decode(json.loads(entry)["body"]))[0][0]


def _replaced(entry: str, old: str, new: str) -> str:
    if not entry.startswith("{"):
        return entry
    whole = json.loads(entry)
    body = base64.b64decode(whole["body"]).replace(old.encode(), new.encode())
    return json.dumps({**whole, "body": base64.b64encode(body).decode()})


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """What a database answers, asked without anything of the product's."""
    with _connected(url) as connection:
        return list(connection.execute(query).fetchall())


def change(url: str, statement: str) -> None:
    """Change something in a database."""
    with _connected(url) as connection:
        connection.execute(statement)
        connection.commit()


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    with closing(
        psycopg.connect(url)
        if url.startswith("postgresql")
        else sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)
    ) as connection:
        yield connection


def states(url: str) -> dict[str, dict[str, int]]:
    """Prompts by stream and state."""
    found: dict[str, dict[str, int]] = {}
    for stream, state, count in rows(
        url, "SELECT stream, state, count(*) FROM prompts GROUP BY stream, state ORDER BY stream, state"
    ):
        found.setdefault(stream, {})[state] = count
    return found


def whereabouts(url: str, redis: dict[str, Any]) -> dict[int, str]:
    """Where each piece of open work is: what becomes of it depends on that."""
    waiting = {number: f"in {stage_of(name)}" for name, number in _items_in(queues(redis))}
    in_hand = {number: "kept" for _claim, number in _items_in({name: [text] for name, text in kept(redis).items()})}
    claims = set(redis["keys"].get("karma:claims", {"value": {}})["value"])
    query = (
        "SELECT w.id, w.stage, w.batch, b.published_at IS NOT NULL FROM work_items w LEFT JOIN batches b "
        "ON b.id = w.batch"
    )
    found = {}
    for item, stage, batch, published in rows(url, query):
        place = "parked" if not batch else f"claimed by {stage}" if f"{stage}:{batch}:0" in claims else None
        if place is None:
            place = "lost" if published else "unpublished"
        found[item] = in_hand.get(item) or waiting.get(item) or place
    return found


def _items_in(texts: dict[str, list[str]]) -> Iterator[tuple[str, int]]:
    for name, found in texts.items():
        for text in found:
            yield from ((name, item["item"]) for item in json.loads(text)["items"])
