"""What the page costs: a store of many preferences, the page's real process, and a reader who watches.

Prints each view's median and maximal time over HTTP, the share of a core that an open page takes while preferences are
written, and the process's memory before and after.
`python -m tests.benchmarks.page [--preferences N] [--seconds S] [--rate R] [--requests K] [--json OUT] [--keep DIR]`
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import to_bytes
from karma.store import Store
from karma_monitor.page.tokens import Tokens
from tests.benchmarks.processes import cpu_s, rss_mb
from tests.support.pipeline import ROOT, wait_until
from tests.support.redis_server import Redis

MODELS = tuple(f"model-{place:02}" for place in range(12))
SKILLS = tuple(f"skill-{place}" for place in range(8))
_STREAMS = 20
_REFITS = 60
_BUCKETS = 200
_FEED_AT_ONCE = 32
_SETTLE_S = 10.0
_IDLE_S = 20.0

_POOL = "\n".join(
    f'[models.{name}]\nbackend = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "{name}"\n'
    "price = { input = 0.1, output = 0.4 }"
    for name in MODELS
) + (
    '\n[judges.j]\nkind = "openai"\n[judges.j.model]\nbackend = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'
    'model = "j"\nprice = { input = 1.0, output = 3.0 }\n'
)

#: Rows from `:low` to `:high`, n of them. `mix` is a number drawn from n; texts are pieces of one long text.
_ROWS = (
    "WITH RECURSIVE c(n) AS (SELECT :low UNION ALL SELECT n + 1 FROM c WHERE n < :high), "
    "d AS (SELECT n, (n * 2654435761) % 1000003 AS mix, :at + n * :step AS at FROM c) "
)
_INSERTS = (
    "INSERT INTO prompts (id, stream, prompt_id, content_hash, messages, skill, priority, state, awaited, no_pair, "
    "error, accepted_at, ended_at) {rows} SELECT n, 'stream-' || (mix * mix % :streams), 'p' || n, 'h' || n, "
    """'[{{"role":"user","content":"Question ' || n || '. ' || substr(:text, 1 + mix % 4000, 200) || '"}}]', """
    "'skill-' || (mix % 8), mix % 3, CASE WHEN mix % 1000 = 7 THEN 'dead' ELSE 'done' END, 0, "
    "CASE WHEN mix % 200 = 9 THEN 'fewer than two usable responses' END, "
    "CASE WHEN mix % 1000 = 7 THEN 'recording was given up after 3 attempts' END, at - 60, at FROM d",
    "INSERT INTO responses (id, prompt, model, sample, text, failure, tokens_in, tokens_out, latency_s, created_at) "
    "{rows} SELECT 2 * n - 1, n, 'model-' || printf('%02d', mix % 12), 0, 'First ' || n || substr(:text, "
    "1 + mix % 4000, 150 + mix % 900), NULL, 90 + mix % 50, 40 + mix % 200, 0.4 + (mix % 100) / 50.0, at - 20 FROM d",
    "INSERT INTO responses (id, prompt, model, sample, text, failure, tokens_in, tokens_out, latency_s, created_at) "
    "{rows} SELECT 2 * n, n, 'model-' || printf('%02d', (mix + 1 + mix % 11) % 12), 0, CASE WHEN mix % 200 <> 9 THEN "
    "'Second ' || n || substr(:text, 1 + mix % 3000, 150 + mix % 700) END, CASE WHEN mix % 200 = 9 THEN "
    "'timed out after 60 s' END, 90 + mix % 50, 40 + mix % 190, 0.4 + (mix % 90) / 50.0, at - 20 FROM d",
    "INSERT INTO pairs (id, prompt, response_a, response_b, policy, reasons, kinship, gap, gap_deviation, information, "
    "likeness, judged_probability, judged, snapshot, awaited, created_at) {rows} SELECT n, n, 2 * n - 1, 2 * n, "
    "CASE WHEN mix % 5 THEN 'informative' ELSE 'kin' END, "
    """'{{"why":"drawn by information","probability":0.4,"win_probability":' || ((mix % 97) / 97.0) || ',"""
    """"comparisons":40,"contrast":[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0,1.1,1.2]}}', """
    "(mix % 100) / 100.0, (mix % 400) / 100.0 - 2.0, 0.4, (mix % 80) / 100.0, (mix % 90) / 100.0, 1.0, 1, 60, 0, "
    "at - 10 FROM d WHERE mix % 200 <> 9",
    "INSERT INTO verdicts (id, pair, judge, template_hash, shown, probability, failure, rationale, tokens_in, "
    "tokens_out, latency_s, created_at) {rows} SELECT 2 * n - 1 + s.shown, n, 'j', 't', s.shown, CASE WHEN "
    "mix % 100 <> 3 THEN CASE WHEN mix % 2 = s.shown THEN 0.85 ELSE 0.15 END END, CASE WHEN mix % 100 = 3 THEN "
    "'unparsable verdict' END, "
    "substr(:text, 1 + mix % 2000, 120), 600, 20, 0.8 + (mix % 70) / 50.0, at - 5 FROM d, (SELECT 0 AS shown UNION ALL "
    "SELECT 1) s WHERE mix % 200 <> 9",
    "INSERT INTO resolutions (pair, prompt, outcome, chosen, rejected, probability, flipped, label_source, reason, "
    "resolved_at) {rows} SELECT n, n, CASE WHEN mix % 100 = 3 THEN 'unscored' WHEN mix % 25 = 4 THEN 'tie' WHEN "
    "mix % 25 = 6 THEN 'inconsistent' ELSE 'decisive' END, CASE WHEN mix % 100 <> 3 AND mix % 25 NOT IN (4, 6) THEN "
    "2 * n - mix % 2 END, CASE WHEN mix % 100 <> 3 AND mix % 25 NOT IN (4, 6) THEN 2 * n - 1 + mix % 2 END, "
    "CASE WHEN mix % 2 THEN 0.85 ELSE 0.15 END, mix % 13 = 0, CASE WHEN mix % 100 <> 3 AND mix % 25 NOT IN (4, 6) THEN "
    "'judge' END, CASE WHEN mix % 100 = 3 THEN 'unparsable verdict' END, at FROM d WHERE mix % 200 <> 9",
)

VIEWS = (
    "/",
    "/static/main.js",
    "/healthz",
    "/api/board",
    "/api/models",
    "/api/models?skill={skill}",
    "/api/quality",
    "/api/quality?stream={streams[0]}",
    "/api/pairs",
    "/api/pairs?before={middle}",
    "/api/pairs?outcome=tie",
    "/api/pairs?outcome=unscored&stream={streams[1]}",
    "/api/pairs?model={model}&judge=j",
    "/api/pairs?text=Question%20{middle}",
    "/api/pairs?text=nowhere%20to%20be%20found",
    "/api/pairs/{middle}",
    "/api/dead",
    "/api/failures",
)


def views_of(middle: int, model: str, skill: str, streams: tuple[str, str]) -> tuple[str, ...]:
    """Every view of a store; `middle` is a pair in its middle."""
    return tuple(view.format(middle=middle, model=model, skill=skill, streams=streams) for view in VIEWS)


def fill(connection: sqlite3.Connection, low: int, high: int, at: float, step: float) -> None:
    """Add the preferences numbered `low` to `high`, the first resolved at `at` and each `step` seconds later."""
    text = " ".join(f"word{place * 7919 % 1009}" for place in range(1200))
    values = {"low": low, "high": high, "at": at - low * step, "step": step, "streams": _STREAMS, "text": text}
    for statement in _INSERTS:
        connection.execute(statement.format(rows=_ROWS), values)


def build(path: Path, preferences: int) -> None:
    """A store of so many preferences over the last week, with competencies and their course."""
    store = Store(f"sqlite:///{path}")
    store.migrate()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    rng = np.random.default_rng(1)
    began = time.time() - 7 * 86_400
    connection.executemany(
        "INSERT INTO streams (name, created_at) VALUES (?, ?)", [(f"stream-{n}", began + n) for n in range(_STREAMS)]
    )
    fill(connection, 1, preferences, began, 7 * 86_400 / preferences)
    for version in range(1, _REFITS + 1):
        body = to_bytes(_snapshot(version, rng))
        at = began + version * 86_400 * 7 / _REFITS
        connection.execute("INSERT INTO snapshots VALUES (?, ?, ?, ?)", (version, at, 1.0 * version, body))
    counts = [
        ("judge", skill, a, b, bucket, *(int(x) for x in rng.integers(0, 30, 3)), 40.0)
        for skill in SKILLS
        for place, a in enumerate(MODELS)
        for b in MODELS[place + 1 :]
        for bucket in range(_BUCKETS)
    ]
    connection.executemany(f"INSERT INTO competency_counts VALUES ({','.join('?' * 9)})", counts)
    connection.execute("COMMIT")
    connection.close()
    store.close()


def _snapshot(version: int, rng: np.random.Generator) -> Snapshot:
    empty = Snapshot.empty(MODELS, SKILLS)
    mean = empty.mean + rng.normal(0, 1, empty.mean.shape)
    kinship = rng.random(empty.kinship.shape)
    return replace(empty, version=version, mean=mean, kinship=kinship, comparisons=empty.comparisons + 50.0)


@dataclass(frozen=True)
class Asker:
    """Asks a page with a token."""

    url: str
    token: str

    def open(self, view: str) -> Any:
        request = urllib.request.Request(self.url + view, headers={"Authorization": f"Bearer {self.token}"})
        return urllib.request.urlopen(request)


@contextmanager
def page(home: Path, variables: Mapping[str, str]) -> Iterator[tuple[Asker, int]]:
    """The page's process: what asks it, and its process id. `variables` are those of KARMA, such as its Redis."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("KARMA_")},
        "KARMA_HOME": str(home),
        "KARMA_POOL": str(home / "pool.toml"),
        **variables,
        "KARMA_PAGE_PORT": "0",
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("", "shared", "services")),
    }
    written = home / "run" / "page.url"
    written.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, "-m", "karma.run", "page"], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(written.exists, 60, "the page is up")
        yield Asker(written.read_text().rstrip("/"), Tokens(home).mint("read")), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def latencies(asker: Asker, views: tuple[str, ...], requests: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each view: the first request, the median and the maximum of all."""
    found = {}
    for view in views:
        times = []
        for _request in range(requests):
            started = time.monotonic()
            with asker.open(view) as answer:
                answer.read()
            times.append(1000 * (time.monotonic() - started))
        found[view] = {
            name: round(of, 1) for name, of in (("first", times[0]), ("median", median(times)), ("max", max(times)))
        }
    return found


class Watcher:
    """One open event stream."""

    def __init__(self, asker: Asker) -> None:
        self.events = 0
        self._answer = asker.open("/api/live")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for line in self._answer:
            self.events += line.startswith(b"id: ")


class Writer:
    """Preferences at a steady rate, as many transactions as the pipeline would make."""

    def __init__(self, path: Path, after: int, rate: float) -> None:
        self._path, self._rate, self._next = path, rate, after + 1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.written = 0

    def __enter__(self) -> Writer:
        if self._rate:
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        if self._rate:
            self._thread.join()

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=60)
        connection.execute("PRAGMA synchronous = NORMAL")
        started = time.monotonic()
        while not self._stop.wait(_FEED_AT_ONCE / self._rate / 2):
            if (time.monotonic() - started) * self._rate < self.written + _FEED_AT_ONCE:
                continue
            connection.execute("BEGIN IMMEDIATE")
            fill(connection, self._next, self._next + _FEED_AT_ONCE - 1, time.time(), 0.0)
            connection.execute("COMMIT")
            self._next += _FEED_AT_ONCE
            self.written += _FEED_AT_ONCE
        connection.close()


def measure(home: Path, preferences: int, seconds: float, rate: float, requests: int) -> dict[str, Any]:
    """The page's process on a store that `build` made."""
    redis = Redis(home / "redis")
    redis.start()
    views = views_of(preferences // 2, model="model-03", skill="skill-3", streams=("stream-1", "stream-4"))
    figures: dict[str, Any] = {"preferences": preferences}
    try:
        with page(home, {"KARMA_REDIS_URL": redis.url}) as (asker, pid):
            started = time.monotonic()
            latencies(asker, ("/api/board",), 1)
            figures["first_picture_s"] = round(time.monotonic() - started, 2)
            time.sleep(_SETTLE_S)
            before = cpu_s([pid])
            time.sleep(_IDLE_S)
            figures["nobody_watches_percent"] = round(100 * (cpu_s([pid]) - before) / _IDLE_S, 2)
            figures["cold_ms"] = {view: one["first"] for view, one in latencies(asker, views, 1).items()}
            watcher = Watcher(asker)
            figures["begin_rss_mb"] = rss_mb(pid)
            figures["latency_ms"] = latencies(asker, views, requests)
            figures["views_rss_mb"] = rss_mb(pid)
            time.sleep(_SETTLE_S)
            with Writer(home / "karma.db", preferences, rate) as writer:
                before, events, started = cpu_s([pid]), watcher.events, time.monotonic()
                time.sleep(seconds)
                took_s = time.monotonic() - started
                figures["open_page_percent"] = round(100 * (cpu_s([pid]) - before) / took_s, 2)
                figures["events_per_s"] = round((watcher.events - events) / took_s, 2)
                figures["written_per_s"] = round(writer.written / took_s, 1)
            figures["end_rss_mb"] = rss_mb(pid)
    finally:
        redis.stop()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.page", description=__doc__)
    parser.add_argument("--preferences", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=200.0, help="preferences written a second")
    parser.add_argument("--requests", type=int, default=15, help="of each view")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="build the store there, or use the one that is there")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.keep or Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        (home / "pool.toml").write_text(_POOL)
        count = arguments.preferences
        if not (home / "karma.db").exists():
            started = time.monotonic()
            build(home / "karma.db", count)
            print(f"built in {time.monotonic() - started:.0f} s", flush=True)
        with sqlite3.connect(home / "karma.db") as connection:
            count = connection.execute("SELECT max(id) FROM prompts").fetchone()[0]
        figures = measure(home, count, arguments.seconds, arguments.rate, arguments.requests)
    print(f"{'view':<50} {'cold':>8} {'median':>8} {'max':>8} ms")
    for view, one in figures["latency_ms"].items():
        print(f"{view:<50} {figures['cold_ms'][view]:>8} {one['median']:>8} {one['max']:>8}")
    for name, value in figures.items():
        if not isinstance(value, dict):
            print(f"{name:<26} {value:>10}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
