"""Where exported data comes from, as its dataset card says it: goals, models, judges, biases, errors of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from karma.config.pool import Pool
from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.streams import recorded_goals, stream_names
from karma_monitor.figures.quality import default_margin, measure, rules_of, summary

#: Most streams whose goals are named.
_STREAMS = 1000


def lineage(store: Store, pool: Pool | None, stream: str | None) -> dict[str, Any]:
    """What the store and the pool file say of the preferences of a stream, or of all: JSON values."""
    quality = measure(
        store, pool.tie_margin if pool else default_margin, [stream] if stream else None, rules_of(pool) if pool else ()
    )
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        names = [stream] if stream else stream_names(connection, _STREAMS)
        goals = recorded_goals(connection, names)
        snapshot = LatestSnapshot().newest(transaction)
    figures = summary(quality, [], snapshot)
    wrong = sum(sums.wrong for sums in quality.policies.values())
    referenced = sum(sums.referenced for sums in quality.policies.values())
    return {
        "goals": {name: goal for name, goal in goals.items() if goal},
        "models": {name: {"backend": spec.backend, "model": _named(spec.model)} for name, spec in pool.models.items()}
        if pool
        else {},
        "judges": {
            name: {"kind": spec.kind, "model": _named(spec.model.model) if spec.model else None}
            for name, spec in pool.judges.items()
        }
        if pool
        else {},
        "flip_share": figures["flip_share"],
        "first_position": figures["first_position"],
        "longer_wins": figures["longer_wins"],
        "longer_expected": figures["longer_expected"],
        "agreement": figures["agreement"],
        "predicted_label_error": figures["predicted_label_error"],
        "label_error": wrong / referenced if referenced else None,
        "referenced": referenced,
    }


def _named(model: str) -> str:
    """A model's name; of a folder its last part, as a card that is published says nothing of this machine."""
    path = Path(model).expanduser()
    return path.name if path.is_absolute() or path.is_dir() else model
