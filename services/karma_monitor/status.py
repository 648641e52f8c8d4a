"""`karma status`: the state of the pipeline as plain data; its schema is `status.schema.json` beside this file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from karma.config.kin_judges import kin_judges
from karma.config.pool import Pool
from karma.queue.backlog import queue_state, queues_of
from karma.queue.heartbeats import workers
from karma.queue.redis import RedisClock
from karma.queue.refused import refused_count
from karma.store import Store
from karma.store.cascade_quality import cascade_quality
from karma.store.counting import unsure_labels
from karma.store.database import COUNTING_S
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.preference_quality import preference_quality
from karma.store.streams import paused
from karma_monitor.conflicts import conflicts
from karma_monitor.figures.budget import hourly_calls
from karma_monitor.figures.judges import jury_figures
from karma_monitor.figures.judges.canaries import canary_figures
from karma_monitor.figures.judges.cascades import cascade_figures
from karma_monitor.figures.judges.people import people_figures
from karma_monitor.figures.limits import endpoint_limits, rate_limit
from karma_monitor.figures.money.budgets import budgets_usd, ends
from karma_monitor.figures.predictions import predictions
from karma_monitor.figures.preferences import preference_figures
from karma_monitor.figures.quality import default_margin
from karma_monitor.figures.sampling import sampling
from karma_monitor.figures.window import Window
from karma_monitor.queries.failures import reasons
from karma_monitor.queries.stream_goals import goals
from karma_monitor.queries.totals import count

#: Seconds that reading the newest pairs may take.
_PAIRS_S = 2.0
#: Reasons of failures that a status names.
_REASONS = 3


def status(store: Store, redis: Any | None, pool: Pool | None) -> dict[str, Any]:
    """The state of the pipeline as plain data. `redis` is None where none runs: queues and workers are then empty.

    Without a pool file, models and judges are those with open work.
    """
    with store.reading(COUNTING_S) as transaction:
        totals = count(transaction.ledger.connection, transaction.ledger.now)
        generating = transaction.work.open_by_target("generate")
        judging = transaction.work.open_by_target("judge")
        stopped = paused(transaction.ledger.connection)
        of_streams = goals(transaction.ledger.connection, pool)
        sampled = sampling(transaction.ledger.connection, pool)
        budgets = hourly_calls(transaction.ledger.connection, pool, transaction.ledger.now) if pool else {}
        newest = LatestSnapshot().newest(transaction)
        known = predictions(newest)
        people = people_figures(transaction.ledger.connection)
        unsure = unsure_labels(transaction.ledger.connection)
        canaries = canary_figures(transaction.ledger.connection, pool.tie_margin if pool else default_margin)
        failures = reasons(transaction.ledger.connection)[:_REASONS]
        money, until = budgets_usd(transaction, pool), ends(transaction)
        spent = transaction.spending.spent(pool.prices if pool else {})
    window = Window(store)
    window.renew(_PAIRS_S)
    models, judges = (pool.models, pool.judges) if pool else (sorted(generating), sorted(judging))
    queues = queue_state(redis, queues_of(models, judges), RedisClock(redis)()) if redis is not None else {}
    alive = workers(redis) if redis is not None else []
    limits = endpoint_limits(redis, pool, RedisClock(redis)()) if redis is not None and pool else {}
    return {
        "version": 1,
        "prompts": totals.states,
        "paused": list(stopped),
        "goals": of_streams,
        "resolutions": {**totals.outcomes, "no_pair": totals.without_pair},
        "preferences": totals.preferences,
        "unsure_labels": unsure,
        "newest_preferences": preference_figures(preference_quality(window)),
        "failed": totals.failed,
        "predictions": known,
        "reasons": [reason.data() for reason in failures],
        "queues": {name: {"length": length, "age_s": round(age, 3)} for name, (length, age) in queues.items()},
        "refused": refused_count(redis) if redis is not None else 0,
        "workers": [{"service": info.service, "id": info.id, "state": info.state} for info in alive],
        "conflicts": conflicts(alive),
        "models": {
            name: _endpoint(generating.get(name, 0), limits.get(name))
            | sampled.get(name, {"dropped": {}, "samples": None})
            for name in models
        },
        "judges": {name: _endpoint(judging.get(name, 0), limits.get(name)) for name in judges},
        "canaries": canaries,
        "cascades": cascade_figures(cascade_quality(window), newest),
        "jury": jury_figures(newest.jury),
        "people": people,
        "kin_judges": [asdict(each) for each in kin_judges(pool)] if pool else [],
        "cost_usd": spent,
        "budgets": money,
        "until": until,
        "judge_budget": {stream: asdict(calls) for stream, calls in budgets.items()},
    }


def _endpoint(open_items: int, limits: dict[str, Any] | None) -> dict[str, Any]:
    """The open work of a model or judge, and the limits of its endpoint; None where it is called at none."""
    if limits is None:
        return {"open": open_items, "rate_limit": None, "breaker": None}
    keys = ("reason", "open_s", "probe_in_s", "concurrency", "in_progress", "waiting", "batch_jobs")
    named = {key: limits[key] for key in keys}
    return {"open": open_items, "rate_limit": rate_limit(limits), "breaker": limits["breaker"], **named}
