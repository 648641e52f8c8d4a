"""A generation worker for tests: each of its models answers a batch, with nothing, when Redis' key of its name lets it.

`python -m tests.support.slow_model MODEL…`, with the worker's environment. A batch of a model appends the model to the
list `started`, waits while the key `hold:MODEL` exists, takes 5 ms, and appends to `ended`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from karma.config.environment import Environment
from karma.messages import GenerateBatch, ScoreBatch
from karma.queue.redis import connect
from karma.worker.process import run_asking
from karma.worker.served import Served


def main() -> None:
    environment = Environment.read({name: value for name, value in os.environ.items() if name.startswith("KARMA_")})
    redis = connect(environment.broker_url())

    def handle(batch: GenerateBatch, _spec: Any) -> Iterator[ScoreBatch]:
        redis.rpush("started", batch.model)
        while redis.exists(f"hold:{batch.model}"):
            time.sleep(0.01)
        time.sleep(0.005)
        redis.rpush("ended", batch.model)
        yield from ()

    models = sys.argv[1:]
    run_asking(environment, "generation", "generate", handle, Served(dict.fromkeys(models), dict.fromkeys(models, "f")))


if __name__ == "__main__":
    main()
