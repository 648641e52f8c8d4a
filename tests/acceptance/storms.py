"""One kind of fault, again and again, while prompts pour in; then the ledger is read.

`python -m tests.acceptance.storms kill --count 500 --database postgresql --json OUT`

kill     SIGKILL of a random process of KARMA, the supervisor's among them
roll     SIGTERM of one worker after another, as a rolling restart does
freeze   SIGSTOP of a worker until its work was given to another, then SIGCONT
restart  PostgreSQL restarted every 5 to 20 s
flush    Redis emptied, or killed with or without its file, with 500 batches in flight (flush-few: 150)
reset    every connection to Redis reset three times within three seconds
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from karma.queue.heartbeats import workers
from tests.acceptance.chaos import a_world, wait_for_end
from tests.acceptance.chaos_faults import SERVICES, Fault, World, faults_of, runs
from tests.acceptance.chaos_verdict import calls_verdict, ends, recovery_s
from tests.support import verifier
from tests.support.feed import Feed
from tests.support.pipeline import wait_until

_QUICK = "[pipeline]\nwindow = 256\nbatch_items = 4\nclaim_silence_s = 4\npublish_grace_s = 2\n"
#: Many batches wait for models that answer few calls at once: it is they that set the pace, and not this machine.
_IN_FLIGHT = "[pipeline]\nwindow = 1024\nbatch_items = 1\n"
_FEW_CALLS = 4
_MANY_CALLS = 16

#: A rate that is not back by then is given as this.
_LATE_S = 60.0

#: What a storm does once; returns figures of its own.
Blow = Callable[[World, str, random.Random], dict[str, float]]


def kill(world: World, _url: str, draw: random.Random) -> dict[str, float]:
    """Any process dies; the next one does before everything has settled."""
    if draw.random() < 0.03:
        faults_of(world)["supervisor_killed"](draw)
    else:
        with suppress(AssertionError, ProcessLookupError):  # it died just now and is not back yet
            os.kill(world.pid_of(draw.choice(SERVICES)), signal.SIGKILL)
    time.sleep(draw.uniform(0.2, 2.0))
    return {}


def roll(world: World, _url: str, draw: random.Random) -> dict[str, float]:
    """A worker is told to stop, and started again."""
    pid = world.pid_of(draw.choice(SERVICES))
    started = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not runs(pid), 30, "the worker ends")
    took_s = round(time.monotonic() - started, 1)
    time.sleep(draw.uniform(1.0, 3.0))
    return {"stopped_after_s": took_s}


def freeze(world: World, _url: str, draw: random.Random) -> dict[str, float]:
    """Workers freeze for longer than their claims are kept, and come back with what they had."""
    chosen = draw.sample(SERVICES[1:], 2)
    pids = [info.pid for info in workers(world.redis.client) if info.service in chosen]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(draw.uniform(4.5, 7.0))
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    time.sleep(draw.uniform(0.5, 2.0))
    return {"frozen": len(pids)}


def restart(world: World, url: str, draw: random.Random) -> dict[str, float]:
    """PostgreSQL goes and comes back; returns how long until the next prompt ended."""
    time.sleep(draw.uniform(5, 20))
    faults_of(world)["database_restarted"](draw)
    return _progress_after(url, 60)


def flush(world: World, url: str, draw: random.Random, least: int = 500, before_s: float = 10.0) -> dict[str, float]:
    """Redis loses everything, or is killed and comes back, when `least` batches are under way."""
    wait_until(lambda: _batches(url) >= least, 120, f"{least} batches are in flight", every_s=0.2)
    in_flight = _batches(url)
    time.sleep(before_s)  # the rate before
    fault = Fault(draw.choice(["redis_emptied", "redis_killed_with_file", "redis_killed_without_file"]), time.time())
    faults_of(world)[fault.kind](draw)
    fault.ended_at = time.time()
    back_s = None
    while back_s is None and time.time() < fault.ended_at + _LATE_S:
        time.sleep(1)  # reading every end is work, and the pipeline needs the machine now
        back_s = _recovery_s(fault, url)
    # What is late is counted, and the run goes on to its verdict.
    return {"in_flight": in_flight, "back_s": _LATE_S if back_s is None else back_s}


def reset(world: World, url: str, draw: random.Random) -> dict[str, float]:
    """Connections are reset, made again, and reset again."""
    for _again in range(3):
        world.to_redis.reset()
        time.sleep(draw.uniform(0.5, 1.0))
    return _progress_after(url, 60)


#: Name → what it does, prompts a second, limits of the pool file, calls at once of each model and judge.
STORMS: Mapping[str, tuple[Blow, float, str, int]] = {
    "kill": (kill, 10.0, _QUICK, _MANY_CALLS),
    "roll": (roll, 10.0, _QUICK, _MANY_CALLS),
    "freeze": (freeze, 10.0, _QUICK, _MANY_CALLS),
    "restart": (restart, 20.0, _QUICK, _MANY_CALLS),
    "flush": (flush, 30.0, _IN_FLIGHT, _FEW_CALLS),
    "flush-few": (partial(flush, least=150, before_s=5.0), 16.0, _IN_FLIGHT, 2),
    "reset": (reset, 10.0, _QUICK, _MANY_CALLS),
}


def run(
    name: str, count: int, kind: str, home: Path, seed: int = 0, progress: Callable[[str], None] = lambda _line: None
) -> dict[str, Any]:
    """A storm of `count` blows; returns its figures."""
    blow, rate, limits, concurrency = STORMS[name]
    draw = random.Random(seed)
    figures: list[dict[str, float]] = []
    started = time.monotonic()
    with a_world(kind, home, home / "calls.jsonl", limits, concurrency) as (world, url):
        with world.karma.up(), Feed(url, rate) as feed:
            wait_until(lambda: len(ends(url)) > 2 * rate, 60, "prompts end", every_s=0.2)
            for place in range(count):
                figures.append(blow(world, url, draw))
                if place % max(1, count // 50) == 0:
                    said = f"{place + 1}/{count} {figures[-1]} {time.monotonic() - started:.0f} s"
                    progress(f"{said}, ended {len(ends(url))} of {feed.accepted}")
            feed.stop()
            wait_for_end(world, url, feed.accepted)
        found = verifier.read(url)
        calls = calls_verdict(url, home / "calls.jsonl", [])
    waits = sorted(one["back_s"] for one in figures if "back_s" in one)
    return {
        "storm": name,
        "database": kind,
        "blows": count,
        "frozen": sum(int(one.get("frozen", 0)) for one in figures),
        "seconds": round(time.monotonic() - started),
        "accepted": feed.accepted,
        "ended": found["ended"],
        "lost": feed.accepted - found["ended"],
        "doubled": sum(found["doubled"].values()) + sum(found["broken"].values()),
        "dead": found["dead"],
        "failed_responses": found["failed_responses"],
        "failed_verdicts": found["failed_verdicts"],
        "calls": calls["calls"],
        "asked_twice": calls["repeated"],  # those in flight at a fault among them
        "stopped_after_most_s": max(
            (one["stopped_after_s"] for one in figures if "stopped_after_s" in one), default=None
        ),
        "in_flight_least": min((one["in_flight"] for one in figures if "in_flight" in one), default=None),
        "back_median_s": waits[len(waits) // 2] if waits else None,
        "back_most_s": waits[-1] if waits else None,
    }


def _progress_after(url: str, deadline_s: float) -> dict[str, float]:
    """How long until ten more prompts have ended."""
    started = time.time()
    wait_until(
        lambda: sum(moment > started for moment in ends(url)) >= 10,
        deadline_s,
        "prompts end again after the fault",
        every_s=0.2,
    )
    return {"back_s": round(time.time() - started, 1)}


def _recovery_s(fault: Fault, url: str) -> float | None:
    return recovery_s(fault, time.time() - 1, ends(url), float("inf"))


def _batches(url: str) -> int:
    """Batches with open work."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = connection.execute(text("SELECT count(DISTINCT batch) FROM work_items")).scalar_one()
    engine.dispose()
    return int(found)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storm", choices=list(STORMS))
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(
            arguments.storm,
            arguments.count,
            arguments.database,
            Path(folder) / "home",
            arguments.seed,
            lambda line: print(line, flush=True),
        )
    for key, value in found.items():
        print(f"{key:<18} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
