"""Options that several commands share, and what the commands open with them: environment, pool file, store, Redis."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import BrokerError, KarmaError, SettingsError
from karma.queue.redis import RedisClock, connect, wake
from karma_cli.output import warn

if TYPE_CHECKING:  # `karma up` and others open no store
    from karma.store import Store

PoolOption = Annotated[
    Path | None,
    typer.Option("--pool", help="Pool file. Without it KARMA_POOL.", show_default="pool.toml"),
]
HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of KARMA's files. Without it KARMA_HOME.", show_default=".karma"),
]
TokenizersOption = Annotated[
    list[str] | None,
    typer.Option("--count-tokens", metavar="TOKENIZER", help="Count rows that are too long; may be repeated."),
]
MaxLengthOption = Annotated[
    int | None, typer.Option("--max-length", min=1, help="With --count-tokens: the trainer's limit of tokens.")
]
StreamOption = Annotated[str | None, typer.Option("--stream", help="Only this stream.")]


def read_environment(home: Path | None = None, pool: Path | None = None) -> Environment:
    """The environment, where `--home` and `--pool` take precedence over their variables."""
    flags = {"KARMA_HOME": home, "KARMA_POOL": pool}
    return Environment.read({**os.environ, **{name: str(path) for name, path in flags.items() if path is not None}})


def token_command(env: Environment) -> str:
    """The command that prints a link to the page of this home; it names the home where a flag named it here."""
    other = env.home != read_environment().home
    return f"karma token --home {shlex.quote(str(env.home))}" if other else "karma token"


def pool_if_any(env: Environment, required: bool = False) -> Pool | None:
    """The pool file, for commands that also work without one; `required` where the user names one."""
    return Pool.read(env.pool_path) if required or env.pool_path.exists() else None


def open_store(env: Environment, promised: bool = False) -> Store:
    """The store, migrated to this version's schema; `promised`: a commit survives a power cut."""
    from karma.store import Store

    store = Store(env.database, durability="full" if promised else "normal")
    store.migrate()
    return store


def open_store_to_read(env: Environment, required: bool = False) -> Store:
    """The store for a command that only reads: it also works without the right to write.

    Where there is no store yet it makes no file and reads an empty one, unless a store is `required`.
    """
    from karma.store import Store, location

    file = location.sqlite_file(location.parse(env.database))
    if file is None or location.is_writable(file):
        return open_store(env)
    if location.is_missing(file):
        if required:
            return open_store(env)
        warn(f"there is no store at {file} yet; karma enqueue FILE makes it")
        store = Store("sqlite://")
        store.create()
        return store
    store = Store(env.database, read_only=True)
    store.require_schema()
    return store


def any_worker(env: Environment) -> bool:
    """Whether a worker of the pipeline runs."""
    from karma.queue.heartbeats import workers

    try:
        return any(
            worker.service != "page" and worker.state == "ready" for worker in workers(connect(env.broker_url()))
        )
    except KarmaError:
        return False


def time_of(env: Environment) -> float:
    """The time by the clock that stamps the rows of the store, seconds since 1970: Redis', or this machine's."""
    redis = redis_if_any(env)
    return time.time() if redis is None else RedisClock(redis)()


def redis_if_any(env: Environment) -> Any | None:
    """The Redis in use; None where none runs, with a warning where it is the one that the environment names."""
    try:
        return connect(env.broker_url())
    except (BrokerError, SettingsError) as cause:
        if env.redis_url:
            warn(str(cause))
        return None


def wake_gateway(env: Environment) -> None:
    """Wake a gateway for new work. Best effort: without a wake-up it looks within a second."""
    with suppress(KarmaError):
        wake(connect(env.broker_url()))
