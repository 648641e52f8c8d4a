"""What the pool file alone tells: tables that contradict each other, judges that are kin, prices that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from karma.config.kin_judges import kin_judges, notices
from karma.config.pool import Pool
from karma.messages import ModelSpec
from karma.plugins.registry import backend_kind
from karma_cli.commands.doctor.findings import Finding, finding

#: Tables that one finding names, at most.
_MOST_NAMED = 5


def pool_findings(pool: Pool) -> list[Finding]:
    """All findings of a valid pool file, but for those of `kin_findings`."""
    return [*_few_models(pool), *_limits(pool), *_prices(pool)]


def kin_findings(pool: Pool, names: Iterable[str] = ()) -> list[Finding]:
    """Judges that are kin to what they judge; only those named, if any are."""
    wanted = set(names)
    by_judge = {kin.judge: None for kin in kin_judges(pool) if not wanted or kin.judge in wanted}
    return [
        finding("judge-kin", "judge", judge, read.partition(" Name a judge ")[0])
        for judge in by_judge
        for read in notices(kin for kin in kin_judges(pool) if kin.judge == judge)
    ]


def _few_models(pool: Pool) -> Iterator[Finding]:
    if not pool.models:
        yield finding("no-models", "pool", pool.path.name, "the pool file names no model")


def _limits(pool: Pool) -> Iterator[Finding]:
    first: dict[tuple[str, str], tuple[str, ModelSpec]] = {}
    for table, spec in _remote(pool):
        where = (str(spec.base_url).rstrip("/"), spec.model)
        other, known = first.setdefault(where, (table, spec))
        if known.concurrency != spec.concurrency:
            read = (
                f"{other} and {table} are {spec.model} at {where[0]}, with concurrency {known.concurrency} "
                f"and {spec.concurrency}"
            )
            yield finding("endpoint-limits", "pool", pool.path.name, read)


def _prices(pool: Pool) -> Iterator[Finding]:
    unpriced = [table for table, spec in _remote(pool) if spec.api_key_env and spec.name not in pool.prices]
    if unpriced:
        named = ", ".join(unpriced[:_MOST_NAMED]) + (", …" if len(unpriced) > _MOST_NAMED else "")
        have, their = ("has", "its") if len(unpriced) == 1 else ("have", "their")
        read = f"{named} {have} api_key_env and no price, so {their} cost is unknown"
        yield finding("no-price", "pool", pool.path.name, read)


def _remote(pool: Pool) -> Iterator[tuple[str, ModelSpec]]:
    tables = [(f"[models.{name}]", spec) for name, spec in pool.models.items()]
    tables += [
        (f"[judges.{name}.model]", judge.model) for name, judge in pool.judges.items() if judge.model is not None
    ]
    yield from ((table, spec) for table, spec in tables if backend_kind(spec.backend).needs_base_url and spec.base_url)
