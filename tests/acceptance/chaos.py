"""The chaos run: prompts at a steady rate, real processes and servers, and one random fault after another.

`python -m tests.acceptance.chaos --prompts N --faults M --seed S --database sqlite|postgresql --json OUT`

The rate is N prompts over the time that M faults need. The verdict is that of an independent reader of the database
and of the endpoint's own log.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from tests.acceptance.chaos_faults import Fault, World, faults_of
from tests.acceptance.chaos_verdict import calls_verdict, ends, recovery_s
from tests.support import verifier
from tests.support.databases import migrate, server
from tests.support.feed import Feed
from tests.support.pipeline import Pipeline
from tests.support.proxy import proxied
from tests.support.redis_server import Redis

#: From the end of one fault to the beginning of the next.
APART_S = (20.0, 23.0)
_FAULT_S = 6.0  # how long a fault lasts, on average
WARM_S = 15.0
_STUCK_S = 120.0  # without progress

POOL = """[pipeline]
window = 256
batch_items = 16
"""


def pool(url: str, limits: str, concurrency: int) -> str:
    """Two models and a judge of an endpoint, as a pool file says it."""
    model = f'backend = "openai"\nbase_url = "{url}"\nmodel = "NAME"\nconcurrency = {concurrency}\ntimeout_s = 30\n'
    models = "".join(f"[models.{name}]\n{model.replace('NAME', name)}" for name in ("red", "blue"))
    judge = f'[judges.j]\nkind = "openai"\n[judges.j.model]\n{model.replace("NAME", "judge")}'
    return f'{limits}{models}{judge}[stream]\ngoal = "label"\n'


def run(
    prompts: int,
    faults: int,
    seed: int,
    kind: str,
    home: Path,
    only: str = "",
    apart_s: tuple[float, float] = APART_S,
    warm_s: float = WARM_S,
    progress: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """One run; returns its figures. `only` chooses the faults whose names contain it."""
    draw = random.Random(seed)
    log = home / "calls.jsonl"
    rate = prompts / (warm_s + faults * (sum(apart_s) / 2 + _FAULT_S))
    done: list[Fault] = []
    with a_world(kind, home, log) as (world, url):
        names = _draw_names(faults, [one for one in faults_of(world) if only in one], draw)
        with world.karma.up(), Feed(url, rate) as feed:
            time.sleep(warm_s)
            for place, name in enumerate(names):
                fault = Fault(name, time.time())
                faults_of(world)[name](draw)
                fault.ended_at = time.time()
                done.append(fault)
                time.sleep(draw.uniform(*apart_s))
                seen = verifier.read(url)
                back = _shown(recovery_s(fault, time.time(), ends(url), rate))
                progress(
                    f"{place + 1:>3}/{faults} {name:<26} {fault.ended_at - fault.began_at:5.1f} s  back after {back}  "
                    f"ended {seen['ended']} of {seen['accepted']}"
                )
            feed.stop()
            wait_for_end(world, url, feed.accepted)
        found = verifier.read(url)
        moments = ends(url)
        untils = [*(fault.began_at for fault in done[1:]), time.time()]
        recoveries = [recovery_s(fault, until, moments, rate) for fault, until in zip(done, untils, strict=True)]
        calls = calls_verdict(url, log, done)
    (home / "repeats.json").write_text(json.dumps(calls.pop("repeats"), indent=1))
    known = [one for one in recoveries if one is not None]
    return {
        "database": kind,
        "seed": seed,
        "rate": round(rate, 2),
        "faults": len(done),
        "accepted": feed.accepted,
        "refused_at_the_door": feed.refused,
        "ended": found["ended"],
        "lost": feed.accepted - found["ended"],
        "doubled": sum(found["doubled"].values()) + sum(found["broken"].values()),
        "dead": found["dead"],
        "failed_responses": found["failed_responses"],
        "failed_verdicts": found["failed_verdicts"],
        **calls,
        "repeated_share": round(calls["repeated"] / max(1, calls["calls"]), 5),
        "not_recovered": recoveries.count(None),
        "recovery_median_s": round(median(known), 1) if known else None,
        "recovery_most_s": round(max(known), 1) if known else None,
        "each": [
            {
                "kind": fault.kind,
                "at_s": round(fault.began_at - done[0].began_at, 1),
                "lasted_s": round(fault.ended_at - fault.began_at, 1),
                "recovery_s": None if back is None else round(back, 1),
            }
            for fault, back in zip(done, recoveries, strict=True)
        ],
    }


def _draw_names(faults: int, kinds: list[str], draw: random.Random) -> list[str]:
    """Every kind about equally often, in random order."""
    names: list[str] = []
    while len(names) < faults:
        names += draw.sample(kinds, len(kinds))
    return names[:faults]


@contextmanager
def a_world(kind: str, home: Path, log: Path, limits: str = POOL, concurrency: int = 16) -> Iterator[tuple[World, str]]:
    """All servers up, with proxies between them and the pipeline; yields also the database's own URL."""
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        redis = Redis(home / "redis")
        redis.start()
        stack.callback(redis.stop)
        to_redis = stack.enter_context(proxied(redis.port))
        endpoint = stack.enter_context(_endpoint(log))
        to_endpoint = stack.enter_context(proxied(endpoint))
        postgresql, to_postgresql, url = None, None, f"sqlite:///{home / 'karma.db'}"
        shown = url
        if kind == "postgresql":
            postgresql = stack.enter_context(server())
            to_postgresql = stack.enter_context(proxied(postgresql.port))
            url = postgresql.url
            shown = url.replace(str(postgresql.port), str(to_postgresql.port))
        migrate(url)
        karma = Pipeline(
            home,
            pool(f"http://127.0.0.1:{to_endpoint.port}/v1", limits, concurrency),
            database_url=shown,
            redis_url=redis.url.replace(str(redis.port), str(to_redis.port)),
        )
        yield World(karma, redis, to_redis, to_endpoint, postgresql, to_postgresql), url


@contextmanager
def _endpoint(log: Path) -> Iterator[int]:
    """The endpoint as a process of its own, with its own log; yields its port."""
    command = [sys.executable, "-m", "tests.support.endpoint", "--latency-ms", "20", "--spread-ms", "180"]
    process = subprocess.Popen([*command, "--log", str(log)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rstrip().removesuffix("/v1").rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(10)


def wait_for_end(world: World, url: str, accepted: int) -> None:
    """Wait until everything ended; says what is known where it does not, and leaves the verdict to the verifier."""
    ended, progress_at = -1, time.monotonic()
    while ended < accepted:
        now = verifier.read(url)["ended"]
        if now > ended:
            ended, progress_at = now, time.monotonic()
        if time.monotonic() - progress_at > _STUCK_S:
            print(f"nothing ends any more: {verifier.read(url)}\n{world.karma.logs()}", file=sys.stderr)
            return
        time.sleep(0.5)


def _shown(seconds: float | None) -> str:
    return " never" if seconds is None else f"{seconds:4.1f} s"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=20_000)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--only", default="", help="only faults whose names contain this")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--keep", type=Path, help="keep all files of the run in this new folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.keep or Path(folder) / "home"
        found = run(
            arguments.prompts,
            arguments.faults,
            arguments.seed,
            arguments.database,
            home,
            arguments.only,
            progress=lambda line: print(line, flush=True),
        )
    for name, value in found.items():
        if name != "each":
            print(f"{name:<20} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    passed = not found["lost"] and not found["doubled"] and found["repeated_share"] <= 0.01
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
