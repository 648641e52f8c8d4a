"""Options that several commands share, and what the commands open with them: environment, pool file, store, Redis."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import BrokerError, KarmaError, SettingsError
from karma.queue.redis import connect, wake
from karma.store import Store

PoolOption = Annotated[
    Path | None, typer.Option("--pool", help="Pool file (KARMA_POOL, else pool.toml).", show_default=False)
]
HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of KARMA's files (KARMA_HOME, else .karma).", show_default=False),
]
StreamOption = Annotated[str | None, typer.Option("--stream", help="Only this stream.")]


def read_environment(home: Path | None = None, pool: Path | None = None) -> Environment:
    """The environment, where `--home` and `--pool` take precedence over their variables."""
    flags = {"KARMA_HOME": home, "KARMA_POOL": pool}
    return Environment.read({**os.environ, **{name: str(path) for name, path in flags.items() if path is not None}})


def pool_if_any(env: Environment) -> Pool | None:
    """The pool file, for commands that also work without one."""
    return Pool.read(env.pool_path) if env.pool_path.exists() else None


def open_store(env: Environment, promised: bool = False) -> Store:
    """The store, migrated to this version's schema; `promised`: a commit survives a power cut."""
    store = Store(env.database_url, durability="full" if promised else "normal")
    store.migrate()
    return store


def redis_if_any(env: Environment) -> Any | None:
    """The Redis in use; None where none runs."""
    try:
        return connect(env.broker_url())
    except (BrokerError, SettingsError):
        return None


def wake_gateway(env: Environment) -> None:
    """Wake a gateway for new work. Best effort: without a wake-up it looks within a second."""
    with suppress(KarmaError):
        wake(connect(env.broker_url()))
