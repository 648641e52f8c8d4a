"""PostgreSQL under several workers of each service: what the statements cost, and whether anything waits on a deadlock.

A store of many done prompts gets new ones for some minutes, through models and a judge that answer at once. Prints the
deadlocks, the statements and the SQL time a prompt, updates of a prompt's row and the share of them in place (HOT), the
most prompts in flight beside the window, and the statements that take longest on average. `--tree` runs the workers of
another checkout, `--pool` with a pool file that it understands.
`python -m tests.benchmarks.postgresql [--minutes M] [--done N] [--gateways G] [--workers W] [--tree DIR] [--pool FILE]`
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.benchmarks.processes import cpu_s
from tests.support.databases import server
from tests.support.pipeline import ROOT, wait_until
from tests.support.redis_server import Redis

_WINDOW = 1024
_POOL = f"""
[pipeline]
window = {_WINDOW}
[stream]
goal = "label"
[models.a]
backend = "instant"
model = "a"
[models.b]
backend = "instant"
model = "b"
[judges.j]
kind = "instant"
"""
_WAITING = 4_000  # accepted prompts that wait at least
_EVERY_S = 0.5
_SLOW_MS = 5.0
_SHOWN = 15
_OPEN = "state IN ('accepted', 'dispatched', 'answered', 'matched')"

#: Done prompts from 1 to %(n)s, each with two responses and a judged pair.
_DONE = (
    "INSERT INTO streams (name, created_at) VALUES ('default', 0) ON CONFLICT DO NOTHING",
    "INSERT INTO prompts (stream, prompt_id, content_hash, messages, priority, state, awaited, accepted_at, ended_at) "
    """SELECT 'default', 'd' || n, md5(n::text), '[{"role":"user","content":"What is ' || n || '?"}]', 0, 'done', 0, """
    "n, n FROM generate_series(1, %(n)s) n",
    "INSERT INTO responses (prompt, model, sample, text, tokens_in, tokens_out, latency_s, created_at) "
    "SELECT n, m, 0, m || ' says ' || n, 9, 9, 0.1, n FROM generate_series(1, %(n)s) n, (VALUES ('a'), ('b')) AS v (m)",
    "INSERT INTO pairs (prompt, response_a, response_b, policy, reasons, judged_probability, snapshot, awaited, "
    """created_at) SELECT n, 2 * n - 1, 2 * n, 'informative', '{"policy": "informative"}', 1, 0, 0, n """
    "FROM generate_series(1, %(n)s) n",
    "INSERT INTO verdicts (pair, judge, template_hash, shown, probability, created_at) "
    "SELECT n, 'j', '', 0, 0.9, n FROM generate_series(1, %(n)s) n",
    "INSERT INTO resolutions (pair, prompt, outcome, chosen, rejected, probability, label_source, resolved_at) "
    "SELECT n, n, 'decisive', 2 * n - 1, 2 * n, 0.9, 'judge', n FROM generate_series(1, %(n)s) n",
)

#: Accepted prompts, as many as are missing. The feed is no part of what is measured: it has a role of its own.
_FEED = (
    "INSERT INTO prompts (stream, prompt_id, content_hash, messages, priority, state, awaited, accepted_at) SELECT "
    """'default', 'q' || n, md5(n::text), '[{"role":"user","content":"What is ' || n || '?"}]', 0, 'accepted', 0, """
    "extract(epoch FROM now()) FROM generate_series(%(first)s::bigint, %(last)s::bigint) n"
)

_STATEMENTS = """
SELECT s.query, s.calls, s.total_exec_time, s.mean_exec_time, s.rows FROM pg_stat_statements s
JOIN pg_roles r ON r.oid = s.userid WHERE r.rolname = 'karma' ORDER BY s.total_exec_time DESC
"""


class Watched:
    """The database, seen by a role of its own, so that its statements are not among those of the workers."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            connection.execute("CREATE ROLE observer SUPERUSER LOGIN")
        self.connection = psycopg.connect(url.replace("karma@", "observer@"), autocommit=True)
        self._fed = 0

    def one(self, query: str, values: Mapping[str, Any] | None = None) -> Any:
        row = self.connection.execute(query.encode(), values).fetchone()
        return None if row is None else row[0]

    def fill(self, done: int) -> None:
        """Add done prompts to an empty store."""
        for statement in _DONE:
            self.connection.execute(statement.encode(), {"n": done})
        self.connection.execute(b"VACUUM ANALYZE")

    def feed(self) -> None:
        """Add accepted prompts where few wait."""
        waiting = f"SELECT FROM prompts WHERE state = 'accepted' ORDER BY id DESC LIMIT {_WAITING}"
        if self.one(f"SELECT count(*) FROM ({waiting}) w") < _WAITING:
            self.connection.execute(_FEED.encode(), {"first": self._fed + 1, "last": self._fed + 2 * _WAITING})
            self._fed += 2 * _WAITING

    def in_flight(self) -> int:
        return int(self.one("SELECT count(*) FROM prompts WHERE state IN ('dispatched', 'answered', 'matched')"))

    def ended(self) -> int:
        return int(self.one("SELECT count(*) FROM prompts WHERE state IN ('done', 'dead') AND prompt_id LIKE 'q%'"))

    def counters(self) -> dict[str, int]:
        """Deadlocks, and updates of the prompts' rows, since the server started."""
        self.connection.execute(b"SELECT pg_stat_force_next_flush()")
        deadlocks = self.one("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        query = b"SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'prompts'"
        (updates, in_place) = self.connection.execute(query).fetchone() or (0, 0)
        return {"deadlocks": deadlocks, "updates": updates, "in_place": in_place}


@contextmanager
def _running(tree: Path, environment: Mapping[str, str], logs: Path, services: Sequence[str]) -> Iterator[list[int]]:
    """Workers of a checkout; yields their process ids."""
    started = []
    for number, service in enumerate(services):
        with (logs / f"{service}-{number}.log").open("wb") as log:
            command = [sys.executable, "-m", "karma.run", service]
            started.append(subprocess.Popen(command, env=environment, cwd=tree, stdout=log, stderr=log))
    try:
        yield [process.pid for process in started]
        if ended := [service for service, process in zip(services, started, strict=True) if process.poll() is not None]:
            raise SystemExit(f"workers ended by themselves: {ended}")
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(60)


def _of(tree: Path, home: Path, url: str, redis_url: str, pool: str) -> dict[str, str]:
    home.mkdir()
    (home / "pool.toml").write_text(pool)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("KARMA_")},
        "KARMA_HOME": str(home),
        "KARMA_POOL": str(home / "pool.toml"),
        "KARMA_PLUGINS": "tests.support.instant",
        "KARMA_METRICS_PORT": "0",
        "KARMA_DATABASE_URL": url,
        "KARMA_REDIS_URL": redis_url,
        "PYTHONPATH": os.pathsep.join(str(tree / folder) for folder in ("", "shared", "services")),
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """One run on servers of its own."""
    pool = arguments.pool.read_text() if arguments.pool else _POOL
    services = ["gateway"] * arguments.gateways + ["generation", "judging"]
    services += ["scoring", "matching"] * arguments.workers
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        preload = ("shared_preload_libraries=pg_stat_statements", "pg_stat_statements.max=10000")
        url = stack.enter_context(server(preload)).url
        redis = Redis(folder / "redis")
        redis.start()
        stack.callback(redis.stop)
        environment = _of(arguments.tree, folder / "home", url, redis.url, pool)
        migrate = "import sys; from karma.store import Store; Store(sys.argv[1]).migrate()"
        subprocess.run([sys.executable, "-c", migrate, url], env=environment, cwd=arguments.tree, check=True)
        watched = Watched(url)
        watched.fill(arguments.done)
        watched.feed()
        with _running(arguments.tree, environment, folder, services) as pids:
            wait_until(lambda: watched.ended() >= _WINDOW, 120, "prompts end")
            watched.connection.execute(b"SELECT pg_stat_statements_reset()")
            before, ended, used, started = watched.counters(), watched.ended(), cpu_s(pids), time.monotonic()
            most = 0
            while (elapsed := time.monotonic() - started) < 60 * arguments.minutes:
                watched.feed()
                most = max(most, watched.in_flight())
                time.sleep(_EVERY_S)
            statements = watched.connection.execute(_STATEMENTS.encode()).fetchall()
            ended, used, after = watched.ended() - ended, cpu_s(pids) - used, watched.counters()
        lost = watched.one(
            f"SELECT count(*) FROM prompts p WHERE {_OPEN} AND state <> 'accepted' AND NOT EXISTS "
            "(SELECT FROM work_items w WHERE w.prompt = p.id)"
        )
        deadlocked = sum(path.read_text(errors="replace").count("deadlock") for path in folder.glob("*.log"))
    control = ("BEGIN", "COMMIT", "ROLLBACK", "SET ", "SHOW ")
    own = [row for row in statements if not row[0].startswith(control)]
    updates = after["updates"] - before["updates"]
    return {
        "done_before": arguments.done,
        "minutes": arguments.minutes,
        "prompts": ended,
        "prompts_per_s": round(ended / elapsed, 1),
        "cpu_us_per_prompt": round(1e6 * used / ended),
        "deadlocks": after["deadlocks"] - before["deadlocks"],
        "deadlocks_logged": deadlocked,
        "without_work": lost,  # prompts in flight that nothing is asked for any more
        "most_in_flight": most,
        "window": _WINDOW,
        "statements_per_prompt": round(sum(row[1] for row in own) / ended, 2),
        "transactions_per_prompt": round(sum(row[1] for row in statements if row[0].startswith("BEGIN")) / ended, 2),
        "sql_ms_per_prompt": round(sum(row[2] for row in own) / ended, 3),
        "updates_per_prompt": round(updates / ended, 2),
        "in_place": round((after["in_place"] - before["in_place"]) / max(1, updates), 3),
        "slow": [_shown(row, ended) for row in own if row[3] > _SLOW_MS and row[1] > 1],
        "most_time": [_shown(row, ended) for row in own[:_SHOWN]],
    }


def _shown(row: Sequence[Any], prompts: int) -> dict[str, Any]:
    query, calls, total, mean, rows = row
    return {
        "calls": calls,
        "mean_ms": round(mean, 3),
        "us_per_prompt": round(1000 * total / prompts, 1),
        "rows_per_call": round(rows / calls, 1),
        "query": " ".join(query.split())[:240],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.postgresql", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--done", type=int, default=300_000)
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="of scoring and of matching")
    parser.add_argument("--tree", type=Path, default=ROOT)
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = measure(arguments)
    for name, value in figures.items():
        if isinstance(value, list):
            print(f"{name}:", *(json.dumps(each) for each in value), sep="\n  ")
        else:
            print(f"{name:<24} {value:>10,}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
