"""What signing costs: the pipeline's CPU time with and without a signing key, in turn, on the same Redis.

`python -m tests.benchmarks.signing [--prompts N] [--rounds R]` prints each round, and the mean difference with its 95 %
interval. Without a key nothing is signed and nothing is verified; everything else is the same.
"""

from __future__ import annotations

import argparse
import json
import secrets
import tempfile
from pathlib import Path
from statistics import fmean

from tests.benchmarks.paired import difference
from tests.benchmarks.throughput import measure
from tests.support.redis_server import Redis


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=5000)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    key = secrets.token_hex(32)
    signed, plain = [], []
    with tempfile.TemporaryDirectory() as folder:
        redis = Redis(Path(folder))
        redis.start()
        try:
            for number in range(arguments.rounds):
                ways = [(signed, {"KARMA_SIGNING_KEY": key}), (plain, {})]
                for found, variables in ways if number % 2 else reversed(ways):
                    redis.client.flushall()
                    run = measure(arguments.prompts, arguments.models, {"KARMA_REDIS_URL": redis.url, **variables})
                    found.append(run["cpu_us_per_prompt"])
                print(json.dumps({"signed_us": signed[-1], "plain_us": plain[-1]}), flush=True)
        finally:
            redis.stop()
    share = difference([100 * one / other for one, other in zip(signed, plain, strict=True)], [100.0] * len(plain))
    print(json.dumps({"signed_us": round(fmean(signed)), "plain_us": round(fmean(plain)), "percent": str(share)}))


if __name__ == "__main__":
    main()
