"""Somebody in Redis: random, mutated, forged and replayed entries beside a running stream, which must end exact.

`python -m tests.acceptance.hostile --entries 10000 --database sqlite|postgresql` has Redis' password and the signing
keys of one model, `red`, and of nothing else. It reads the queues, and writes to them and to every hash and sorted set
that KARMA reads. At the end no process may have ended, no text of its may be stored, every call of the endpoint is
counted, and every entry that was no copy of a message must have been refused and counted.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import re
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis import Redis

from karma.messages.signing import Keyring, channels_of
from karma.queue.heartbeats import workers
from karma.queue.redis import CLAIMS_KEY, FATES_KEY, KEPT_KEY, TOMBSTONES_KEY, WORKERS_KEY
from tests.support.databases import database
from tests.support.endpoint import Behaviour, pool, serve
from tests.support.feed import Feed
from tests.support.pipeline import Pipeline, wait_until
from tests.support.verifier import assert_exact, read

LIMITS = "[pipeline]\nwindow = 128\nbatch_items = 4\nclaim_silence_s = 4\npublish_grace_s = 2\n"
QUEUES = ("generate.red", "generate.blue", "score", "match", "judge.fair", "learn")
MARK = "forged by somebody in Redis"
_SEALED = re.compile(r"[0-9a-f]{32}:([a-z]+(?:/[a-z]+)?):(\{.*)", re.DOTALL)

#: Values that no field expects, put anywhere.
ODD: tuple[Any, ...] = (
    *(None, True, -1, 2**63, 2**64 + 1, 10**400, 1e308, "", "x" * 5000, [], {}, [[]] * 50, {"a": {"b": [1]}}, MARK),
    *("karma.generate", "application/x-python-serialize", "gzip", "2099-01-01T00:00:00", [{"task": "karma.match"}]),
)


@dataclass
class Attacker:
    """What somebody in Redis sees, sends and counts."""

    redis: Any
    keys: Keyring
    captured: dict[str, list[bytes]] = field(default_factory=lambda: {queue: [] for queue in QUEUES})
    texts: set[str] = field(default_factory=set)  # sealed texts that were seen
    sent: Counter[str] = field(default_factory=Counter)
    refusable: int = 0  # entries of queues that are no copy of a message
    _own: set[bytes] = field(default_factory=set)

    def watch(self) -> None:
        """Keep some of what waits in the queues."""
        for queue in QUEUES:
            for key in self.redis.keys(f"{queue}*"):
                for raw in self.redis.lrange(key, 0, 3) if self.redis.type(key) == b"list" else ():
                    sealed = sealed_of(raw)
                    if sealed and raw not in self._own and sealed not in self.texts and _SEALED.fullmatch(sealed):
                        self.texts.add(sealed)
                        self.captured[queue] = [*self.captured[queue][-200:], raw]

    def strike(self, draw: random.Random, noise: bytes, value: Any) -> None:
        """Write one entry of a random kind."""
        kinds = [self.raw, self.json, self.envelope, self.sealed, self.unsigned, self.foreign_items, self.replay]
        kinds += [self.claims, self.heartbeats, self.fates]
        kind = draw.choice(kinds)
        kind(draw, noise, value)
        self.sent[kind.__name__] += 1

    # --- entries of queues ---

    def raw(self, draw: random.Random, noise: bytes, _value: Any) -> None:
        """Bytes."""
        self._push(draw.choice(QUEUES), noise or b"{")

    def json(self, draw: random.Random, _noise: bytes, value: Any) -> None:
        """Any JSON."""
        self._push(draw.choice(QUEUES), json.dumps(value).encode())

    def envelope(self, draw: random.Random, _noise: bytes, value: Any) -> None:
        """A message whose envelope or task arguments say something else."""
        queue, raw = self._message(draw)
        entry = json.loads(raw)
        where = draw.choice([entry, entry["headers"], entry["properties"]])
        where[draw.choice([*where, "eta", "callbacks", "chain", "extra"])] = draw.choice([*ODD, value])
        if draw.random() < 0.3:
            body = json.loads(base64.b64decode(json.loads(raw)["body"]))
            body[draw.randrange(3)] = draw.choice([*ODD, value])
            entry["body"] = base64.b64encode(json.dumps(body).encode()).decode()
        self._push(queue, json.dumps(entry).encode())

    def sealed(self, draw: random.Random, noise: bytes, value: Any) -> None:
        """A message whose text was changed under its signature, or that is in another queue."""
        queue, raw = self._message(draw)
        text = sealed_of(raw) or ""
        change = draw.randrange(4)
        if change == 0:
            place = draw.randrange(len(text))
            text = text[:place] + draw.choice("0f:{\u202e") + text[place + 1 :]
        elif change == 1:
            text = text[:33] + altered(text[33:], draw, draw.choice([*ODD, value]))
        elif change == 2:
            text = text.replace(
                ":" + text[33:].partition(":")[0], ":" + draw.choice(["ledger", "match", "score/red"]), 1
            )
        else:
            queue = draw.choice([other for other in QUEUES if other.partition(".")[0] != queue.partition(".")[0]])
            self._push(queue, entry_of(text, queue), copied=False)
            return
        self._push(queue, entry_of(text + noise.hex()[: draw.randrange(3)], queue))

    def unsigned(self, draw: random.Random, _noise: bytes, value: Any) -> None:
        """A message without a signature, as an earlier version wrote it, or one that another secret signed."""
        queue, raw = self._message(draw)
        of, text = _SEALED.fullmatch(sealed_of(raw) or "").groups()  # type: ignore[union-attr]
        text = altered(text, draw, draw.choice([MARK, value]))
        if draw.random() < 0.5:
            text = Keyring.read("another secret, of the attacker's own").seal(of, text)
        self._push(queue, entry_of(text, queue))

    def foreign_items(self, draw: random.Random, _noise: bytes, _value: Any) -> None:
        """Results that the key of `red` signs, for what `blue` was asked, or for what nobody was."""
        _queue, mine = self._message(draw, "generate.red")
        _queue, theirs = self._message(draw, "generate.blue")
        header = json.loads(_SEALED.fullmatch(sealed_of(mine) or "")[2])["header"]  # type: ignore[index]
        asked = json.loads(_SEALED.fullmatch(sealed_of(theirs) or "")[2])["items"]  # type: ignore[index]
        items = [
            {
                "item": draw.choice([one["item"], 2**40]),
                "prompt": one["prompt"],
                "model": "red",
                "sample": 0,
                "text": MARK,
            }
            for one in asked
        ]
        text = json.dumps({"message": "score.v2", "header": header, "items": items})
        self._push("score", entry_of(self.keys.seal("score/red", text), "score"), copied=True)

    def replay(self, draw: random.Random, _noise: bytes, _value: Any) -> None:
        """A message once more, and now and then a hundred times."""
        queue, raw = self._message(draw)
        for _time in range(100 if draw.random() < 0.01 else 1):
            self._push(queue, raw, copied=True)

    def large(self, size: int) -> None:
        """A message of so many bytes and more, with a sound envelope; it is counted apart."""
        self._push("match", entry_of("x" * size, "match"), copied=True)

    # --- hashes and sorted sets ---

    def claims(self, draw: random.Random, noise: bytes, _value: Any) -> None:
        """Claims that are none, of the future, or of batches that nobody opened."""
        name = draw.choice([noise, b"generate:x", b"score:abc:99999999999", b"generate:abc:0", b"match:\xff:0"])
        score = draw.choice([0.0, 1e18, -1e18, time.time(), float("inf")])
        self.redis.zadd(draw.choice([CLAIMS_KEY, TOMBSTONES_KEY]), {name or b"-": score})

    def heartbeats(self, draw: random.Random, noise: bytes, value: Any) -> None:
        """Workers that are none."""
        told = draw.choice([noise, json.dumps(value).encode(), b"[" * 3000, b'{"id": 1}'])
        self.redis.hset(WORKERS_KEY, draw.choice([noise, b"gateway-00000000", b"w"]), told)

    def fates(self, draw: random.Random, noise: bytes, value: Any) -> None:
        """Reasons of releases, and results that are said to be kept."""
        name = draw.choice([noise, b"generate:abc:0", b"score:abc:0"])
        self.redis.hset(
            draw.choice([FATES_KEY, KEPT_KEY]), name, draw.choice([noise, MARK.encode(), json.dumps(value)])
        )

    # --- helpers ---

    def _message(self, draw: random.Random, queue: str = "") -> tuple[str, bytes]:
        known = [(of, raw) for of in ([queue] if queue else QUEUES) for raw in self.captured[of]]
        return draw.choice(known)

    def _push(self, queue: str, raw: bytes, copied: bool | None = None) -> None:
        """Add an entry; whether it is a copy of a message is found where it is not known."""
        is_copy = sealed_of(raw) in self.texts if copied is None else copied
        self.refusable += not is_copy
        self._own.add(raw)
        self.redis.lpush(queue, raw)


def sealed_of(raw: bytes) -> str | None:
    """The sealed text of an entry as kombu writes it."""
    try:
        return str(json.loads(base64.b64decode(json.loads(raw)["body"]))[0][0])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def entry_of(sealed: str, queue: str) -> bytes:
    """An entry as kombu writes it."""
    stage = queue.partition(".")[0]
    body = base64.b64encode(json.dumps([[sealed], {}, {}]).encode()).decode()
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": f"karma.{stage}", "id": "0" * 32, "lang": "py"},
            "properties": {"body_encoding": "base64", "priority": 9, "delivery_tag": "t", "delivery_info": {}},
        }
    ).encode()


def altered(text: str, draw: random.Random, value: Any) -> str:
    """A JSON text with one value replaced, at any depth; what stands before its brace is kept."""
    before, _brace, rest = text.partition("{")
    whole = json.loads("{" + rest)
    place = whole
    while True:
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or draw.random() < 0.2:
            place[key] = value
            return before + json.dumps(whole)
        place = place[key]


@contextmanager
def watching(attacker: Attacker) -> Iterator[None]:
    """Read the queues in a thread of its own."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.02):
            attacker.watch()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=10,
)


def attack(attacker: Attacker, entries: int, progress: Callable[[int], None] = lambda _count: None) -> None:
    """Write so many entries, chosen by hypothesis."""

    @settings(
        max_examples=entries, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.randoms(use_true_random=True), st.binary(max_size=300), VALUES)
    def strike(draw: random.Random, noise: bytes, value: Any) -> None:
        attacker.strike(draw, noise, value)
        progress(attacker.sent.total())

    strike()


def refused(home: Path) -> dict[str, int]:
    """What the workers' metrics say of refused messages: place and reason → number."""
    found: Counter[str] = Counter()
    for group in json.loads((home / "run" / "targets.json").read_text()):
        for target in group["targets"]:
            with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as answer:
                for line in answer.read().decode().splitlines():
                    if told := re.match(r'karma_messages_refused_total\{reason="(\w+)",stage="([^"]*)"\} (.+)', line):
                        found[f"{told[2]} {told[1]}"] += int(float(told[3]))
    return dict(found)


def run(
    entries: int,
    kind: str,
    home: Path,
    rate: float = 10.0,
    large_bytes: int = 50_000_000,
    progress: Callable[[int], None] = lambda _count: None,
) -> dict[str, Any]:
    """One run; returns its figures.

    Raises:
        AssertionError: the stream did not end exact, something of the attacker's is stored, an entry was not counted, a
            process ended, or more than twenty calls and one in a hundred were made again.
    """
    home.mkdir(parents=True, exist_ok=True)
    with serve(Behaviour(latency_ms=40, seed=5)) as endpoint, database(kind, home) as url:
        karma = Pipeline(home, LIMITS + pool(endpoint.url), database_url=url)
        with karma.up():
            redis = Redis.from_url((home / "run" / "redis.url").read_text(), socket_timeout=60)
            secret = Keyring.read((home / "signing.key").read_text())
            attacker = Attacker(redis, Keyring.read(None, secret.export(channels_of("generation", ["red"]))))
            before = {info.id for info in workers(redis)}
            with watching(attacker), Feed(url, rate) as feed:
                wait_until(lambda: all(attacker.captured.values()), 60, "a message of every queue was seen")
                began = time.monotonic()
                attack(attacker, entries, progress)
                took_s = time.monotonic() - began
                feed.stop()
            wait_until(lambda: read(url)["ended"] >= feed.accepted, 180, f"all ended\n{karma.logs()}", every_s=0.5)
            wait_until(lambda: not waiting(redis), 120, "nothing waits", every_s=0.2)
            for last in (False, True):  # where its transfer breaks off, it is gone, and nobody counts it
                attacker.large(large_bytes)
                with nullcontext() if last else suppress(AssertionError):
                    wait_until(lambda: refused(home).get("match size"), 60, "the large one is refused", every_s=0.5)
                    break
            wait_until(
                lambda: before == {info.id for info in workers(redis) if info.id in before or info.state == "ready"},
                30,
                "every worker that was there is there, and no other",
            )
            counted = refused(home)
            karma.status()
        assert "restarting" not in (home / "logs" / "supervisor.log").read_text()
        found = assert_exact(url, feed.accepted)
        marks = stored_marks(url)
        assert not any(marks.values()), marks
        assert found["dead"] == found["failed_responses"] == found["failed_verdicts"] == 0, found
        in_queues = sum(number for of, number in counted.items() if of.split()[0] in STAGES)
        assert in_queues >= attacker.refusable, (counted, attacker.refusable)
        needed = {"red": feed.accepted, "blue": feed.accepted, "judge-fair": 2 * feed.accepted}
        again = {model: endpoint.calls[model] - number for model, number in needed.items()}
        assert sum(again.values()) <= 20 + 0.01 * sum(needed.values()), again
    return {
        "entries": entries,
        "seconds": round(took_s, 1),
        "prompts": feed.accepted,
        "sent": dict(attacker.sent),
        "no_copies_in_queues": attacker.refusable,
        "refused_in_queues": in_queues,
        "refused": counted,
        "asked_again": again,
    }


STAGES = ("generate", "score", "match", "judge", "learn")


def waiting(redis: Any) -> int:
    """Entries of all queues."""
    keys = [key for queue in QUEUES for key in redis.keys(f"{queue}*") if redis.type(key) == b"list"]
    return sum(redis.llen(key) for key in keys)


def stored_marks(url: str) -> Mapping[str, int]:
    """Where something of the attacker's is stored."""
    from sqlalchemy import create_engine, text

    columns = {"responses": "text", "verdicts": "rationale", "work_items": "error", "prompts": "error"}
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = {
            f"{table}.{column}": int(
                connection.execute(text(f"SELECT count(*) FROM {table} WHERE {column} LIKE '%forged by%'")).scalar_one()
            )
            for table, column in columns.items()
        }
    engine.dispose()
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        said = run(
            arguments.entries,
            arguments.database,
            Path(folder) / "home",
            progress=lambda count: print(count, flush=True) if count % 1000 == 0 else None,
        )
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
