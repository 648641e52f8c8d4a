"""Checks that the parts and the embedders that a pool file names exist in this environment.

`Pool.read` cannot: a plug-in need only be installed where the service runs that uses it. Each worker checks its own
names when it starts, and `karma up` and `karma doctor` those of all services.
"""

from __future__ import annotations

from collections.abc import Iterable

from karma import plugins
from karma.config.models import is_path
from karma.config.pool import Pool
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


def _check(pool: Pool, where: str, family: Family, name: str) -> None:
    with errors_in(f"{pool.path}: {where}:"):
        plugins.check(family, name)
