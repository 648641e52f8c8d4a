"""What the limits that workers share cost: CPU of a call through the client, with and without them.

One process calls an endpoint that answers after 20 ms, 64 calls at once; the ways alternate. `python -m
tests.benchmarks.limiter [--calls 3000] [--repetitions 5] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from karma.limits.gate import Exchange, unshared
from karma.llm.completions import ChatRequest
from karma.llm.openai import ChatClient
from karma.messages import ModelSpec, Turn
from karma.queue.endpoint_limits import EndpointLimits
from karma.queue.redis import RedisClock, connect
from tests.benchmarks.rate_limits import endpoint
from tests.support.redis_server import Redis

_AT_ONCE = 64
_BATCH = 256

#: The ways, and the limits of the model in each.
WAYS: dict[str, dict[str, Any]] = {"alone": {}, "shared": {}, "shared, paced": {"requests_per_minute": 1e6}}


def cpu_ms_per_call(url: str, exchange: Exchange, limits: dict[str, Any], calls: int) -> float:
    """CPU of this process for one call, ms."""
    spec = ModelSpec(name="m", backend="openai", model="m", base_url=url, concurrency=_AT_ONCE, **limits)
    client = ChatClient(exchange)
    try:
        before = time.process_time()
        done = 0
        while done < calls:
            asked = [ChatRequest((Turn("user", f"Question {number}"),), number) for number in range(_BATCH)]
            done += sum(len(group) for group in client.complete(spec, asked))
        return 1e3 * (time.process_time() - before) / done
    finally:
        client.close()


def measure(calls: int, repetitions: int) -> dict[str, Any]:
    """Every way as often, alternating."""
    with tempfile.TemporaryDirectory() as folder:
        server = Redis(Path(folder) / "redis")
        server.start()
        try:
            redis = connect(server.url)

            def shared(turn: int) -> Exchange:
                return EndpointLimits(redis, f"p{turn}", RedisClock(redis)).exchange

            found: dict[str, list[float]] = {way: [] for way in WAYS}
            with endpoint(Path(folder) / "calls.jsonl", ["--latency-ms", "20"]) as url:
                for turn in range(repetitions):
                    for way, limits in WAYS.items():
                        redis.flushall()
                        exchange = unshared if way == "alone" else shared(turn)
                        found[way].append(cpu_ms_per_call(url, exchange, limits, calls))
        finally:
            server.stop()
    alone = found["alone"]
    return {
        way: {
            "cpu_ms_per_call": round(statistics.median(each), 4),
            "against_alone": round(statistics.median(a / b for a, b in zip(each, alone, strict=True)), 3),
            "least": round(min(a / b for a, b in zip(each, alone, strict=True)), 3),
            "most": round(max(a / b for a, b in zip(each, alone, strict=True)), 3),
        }
        for way, each in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.limiter", description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = measure(arguments.calls, arguments.repetitions)
    for way, row in figures.items():
        print(f"{way:<16}" + "".join(f"{name} {value:<10}" for name, value in row.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
