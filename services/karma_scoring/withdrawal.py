"""Takes pairs that are judged again out of the competency counts, as the pool file says they were counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from karma.config.pool import Pool
from karma.plugins.registry import judge_kind
from karma_scoring.competency_counts import withdraw


def withdrawal(pool: Pool) -> Callable[[Connection, Sequence[int]], None]:
    """What `karma.store.requeue` calls with the pairs that it opens again."""
    verifiers = {name for name, judge in pool.judges.items() if judge_kind(judge.kind).checks_reference}
    return lambda connection, pairs: withdraw(connection, pairs, pool.tie_margin, verifiers, pool.aliases)
