"""What `karma status --json` says; its schema is `status.schema.json` beside this file."""

from __future__ import annotations

import time
from typing import Any

from karma.broker import queue_state
from karma.pool import Pool
from karma.registry import workers
from karma.store import Store
from karma_gateway.worker import all_queues


def status(store: Store, redis: Any | None, pool: Pool) -> dict[str, Any]:
    """The state of the pipeline as plain data. `redis` is None where none runs: queues and workers are then empty."""
    with store.reading() as transaction:
        prompts = transaction.ledger.count_states()
        outcomes = transaction.preferences.count_outcomes()
        no_pair = transaction.ledger.count_no_pair()
        preferences = transaction.preferences.count_preferences()
    queues = queue_state(redis, all_queues(pool), time.time()) if redis is not None else {}
    return {
        "version": 1,
        "prompts": prompts,
        "resolutions": {**outcomes, "no_pair": no_pair},
        "preferences": preferences,
        "queues": {name: {"length": length, "age_s": round(age, 3)} for name, (length, age) in queues.items()},
        "workers": [
            {"service": info.service, "id": info.id, "state": info.state}
            for info in (workers(redis) if redis is not None else [])
        ],
        # Rate limits and breakers are kept per endpoint by each worker's client; none is shared yet.
        "models": {name: {"rate_limit": "none", "breaker": "closed"} for name in pool.models},
        "judges": {name: {"rate_limit": "none", "breaker": "closed"} for name in pool.judges},
    }
