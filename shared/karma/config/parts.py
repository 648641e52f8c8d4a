"""Checks that the parts and the embedders that a pool file names exist in this environment.

`Pool.read` cannot: a plug-in need only be installed where the service runs that uses it. Each worker checks its own
names when it starts, and `karma up` and `karma doctor` those of all services.
"""

from __future__ import annotations

from collections.abc import Iterable

from karma import plugins
from karma.config.models import is_path
from karma.config.pool import Pool
from karma.config.pricing import Pricing
from karma.config.tables import errors_in
from karma.errors import SettingsError
from karma.plugins.registry import Family, judge_kind


def check_parts(pool: Pool) -> None:
    """Check the names of all services.

    Raises:
        SettingsError: names the pool file, the table and the key; suggests the nearest known name.
    """
    check_backends(pool, pool.models)
    check_judges(pool, pool.judges)
    check_policies(pool)
    check_embedders(pool)
    check_budgets(pool)


def check_backends(pool: Pool, models: Iterable[str]) -> None:
    """Check the backends of models, as `check_parts` does."""
    for name in models:
        _check(pool, f"[models.{name}] backend", "backends", pool.models[name].backend)


def check_judges(pool: Pool, judges: Iterable[str]) -> None:
    """Check the kinds and checkers of judges, as `check_parts` does."""
    for name in judges:
        judge = pool.judges[name]
        _check(pool, f"[judges.{name}] kind", "judges", judge.kind)
        if judge_kind(judge.kind).checks_reference:
            _check(pool, f"[judges.{name}] checker", "checkers", judge.checker)


def check_policies(pool: Pool) -> None:
    """Check the policies of streams, as `check_parts` does."""
    for where, stream in pool.every_stream():
        _check(pool, f"{where} policy", "policies", stream.policy)


def check_embedders(pool: Pool) -> None:
    """Check the embedders and the checkers of streams, as `check_parts` does."""
    for where, stream in pool.every_stream():
        _check(pool, f"{where} checker", "checkers", stream.checker)
        folder = (pool.path.parent / stream.embedder).resolve()
        if stream.embedder_revision and (not stream.embedder or folder.is_dir()):
            raise SettingsError(
                f"{pool.path}: {where} embedder_revision is {stream.embedder_revision!r}: only an embedder on a hub "
                "has one, and this is none"
            )
        if stream.embedder and not folder.is_dir() and is_path(stream.embedder, pool.path.parent):
            raise SettingsError(f"{pool.path}: {where} embedder is {stream.embedder!r}: there is no folder {folder}")


def check_budgets(pool: Pool) -> None:
    """Check that every model and judge of a stream with a budget has a price: else it would never be spent.

    Raises:
        SettingsError: names the table and the models.
    """
    pricing, of_all = Pricing(pool), pool.pipeline.budget_usd_per_day is not None
    for where, stream in pool.every_stream():
        if not of_all and stream.budget_usd is None and stream.budget_usd_per_day is None:
            continue
        unknown = [f"[models.{name}]" for name in stream.models or pool.models if not pricing.is_known("model", name)]
        judges = stream.judges or pool.judges
        unknown += [f"[judges.{name}.model]" for name in judges if not pricing.is_known("judge", name)]
        if unknown:
            table = "[pipeline]" if of_all else where
            raise SettingsError(
                f"{pool.path}: {table} has a budget in USD, but the price of {', '.join(unknown)} is not known, so "
                "what is spent would not be either. Give each a price = { input = …, output = … }, USD per million "
                "tokens (0 where it costs nothing), or install the extra `prices` for models of a provider that it "
                "lists"
            )


def _check(pool: Pool, where: str, family: Family, name: str) -> None:
    with errors_in(f"{pool.path}: {where}:"):
        plugins.check(family, name)
