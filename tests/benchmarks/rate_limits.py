"""Limits of an endpoint under real workers: how much of what it allows is used, and how much it refuses.

An endpoint of 600 requests a minute (a token bucket with a burst of 10, or fixed minutes) answers 429 beyond; one that
is full at 32 calls at once (250 ms each) never refuses and gets slower. Fixed minutes are counted from the beginning of
one. `python -m tests.benchmarks.rate_limits
[--workers 1 4 16] [--minutes 3] [--kinds bucket minutes full] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from karma.config.environment import Environment
from karma.queue.redis import connect
from tests.benchmarks.processes import cpu_s
from tests.support.pipeline import Pipeline

PER_MINUTE = 600
FULL_AT, LATENCY_S = 32, 0.25

#: What each kind of endpoint is started with, and the calls per minute that it can answer.
KINDS: dict[str, tuple[list[str], float]] = {
    "bucket": (["--per-minute", str(PER_MINUTE), "--burst", "10", "--latency-ms", "50"], PER_MINUTE),
    "minutes": (["--per-minute", str(PER_MINUTE), "--latency-ms", "50"], PER_MINUTE),
    "full": (["--full-at", str(FULL_AT), "--latency-ms", str(1e3 * LATENCY_S)], 60 * FULL_AT / LATENCY_S),
}

#: Seconds until the count begins: workers start, and an unknown limit is found.
WARM_UP_S = 10.0


@contextmanager
def endpoint(log: Path, options: list[str], port: int = 0) -> Iterator[str]:
    """An endpoint in a process of its own; yields its URL."""
    command = [sys.executable, "-m", "tests.support.endpoint", "--log", str(log), "--port", str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(10)


def pool(url: str, limits: str) -> str:
    """Two models, of which one is limited, and a judge that answers at once."""
    return f"""
[stream]
goal = "label"
[models.limited]
backend = "openai"
model = "limited"
base_url = "{url}"
{limits}
[models.free]
backend = "instant"
model = "free"
[judges.j]
kind = "instant"
both_orders = false
"""


def measure(kind: str, workers: int, configured: bool, duration_s: float, empty_redis: bool) -> dict[str, Any]:
    """One run in a home of its own."""
    options, best = KINDS[kind]
    limits = f"requests_per_minute = {PER_MINUTE}" if configured and kind != "full" else ""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        log = home / "calls.jsonl"
        with endpoint(log, options) as url:
            karma = Pipeline(home, pool(url, limits), plugins="tests.support.instant")
            prompts = int(best * (duration_s + WARM_UP_S + 90) / 60)
            with karma.up():
                redis = connect(Environment.read(karma.environment).broker_url())
                karma.start_workers("generation", workers - 1)
                pids = [info.pid for info in karma.workers("generation")]
                karma.enqueue([{"id": f"q{n}", "prompt": f"What is {n}?"} for n in range(prompts)])
                time.sleep(WARM_UP_S)
                if kind == "minutes":  # the allowance of a minute that is under way may be used up
                    time.sleep(60 - time.time() % 60)
                began, cpu = time.time(), cpu_s(pids)
                emptied_at = began + duration_s / 2
                while (now := time.time()) < began + duration_s:
                    if empty_redis and now >= emptied_at:
                        redis.flushall()
                        emptied_at = float("inf")
                    time.sleep(min(1.0, began + duration_s - now))
                cpu = cpu_s(pids) - cpu
                status = karma.status()
            calls = [json.loads(line) for line in log.read_text().splitlines()]
            failed = failures(karma)
    return figures(calls, began, duration_s, best) | {
        "kind": kind,
        "workers": workers,
        "configured": configured,
        "redis_emptied": empty_redis,
        "failed_for_good": failed,
        "cpu_ms_per_call": round(1e3 * cpu / max(1, len(calls)), 3),
        "dead": status["prompts"]["dead"],
    }


def failures(karma: Pipeline) -> int:
    """Answers of the limited model that failed for good."""
    from sqlalchemy import func, select

    from karma.store import Store
    from karma.store.schema import responses

    store = Store(karma._found().database)
    try:
        with store.reading() as transaction:
            query = select(func.count()).select_from(responses).where(responses.c.failure.is_not(None))
            return int(transaction.ledger.connection.execute(query).scalar_one())
    finally:
        store.close()


def figures(calls: list[dict[str, Any]], began: float, duration_s: float, best: float) -> dict[str, Any]:
    """Use and refusals within the time, and the most that arrived in any 60 s."""
    within = [call for call in calls if began <= call["received_at"] < began + duration_s]
    answered = sum(call["outcome"] == "answered" for call in within)
    refused = sum(call["outcome"] == "429" for call in within)
    moments = sorted(call["received_at"] for call in calls)
    first = most = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - 60:
            first += 1
        most = max(most, last - first + 1)
    return {
        "used": round(answered / (best * duration_s / 60), 3),
        "refused": round(refused / max(1, len(within)), 4),
        "answered": answered,
        "most_in_a_minute": most,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rate_limits", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--only", choices=["configured", "unknown"], help="not both")
    parser.add_argument("--empty-redis", action="store_true", help="FLUSHALL in the middle")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = []
    columns = ("kind", "workers", "configured", "used", "refused", "most_in_a_minute", "failed_for_good")
    print("".join(f"{column:>18}" for column in (*columns, "cpu_ms_per_call")))
    for kind in arguments.kinds:
        for configured in (True, False):
            if (kind == "full" and configured) or arguments.only == ("unknown" if configured else "configured"):
                continue
            for workers in arguments.workers:
                run = measure(kind, workers, configured, 60 * arguments.minutes, arguments.empty_redis)
                found.append(run)
                print("".join(f"{run[column]!s:>18}" for column in (*columns, "cpu_ms_per_call")), flush=True)
                if arguments.json:
                    arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
