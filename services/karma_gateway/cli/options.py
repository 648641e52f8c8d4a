"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from karma.pool import Pool
from karma.settings import Environment
from karma.store import Store

PoolOption = Annotated[
    Path | None, typer.Option("--pool", help="The pool file. [env: KARMA_POOL; default: pool.toml]", show_default=False)
]
HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Where KARMA keeps its files. [env: KARMA_HOME; default: .karma]", show_default=False),
]
StreamOption = Annotated[str, typer.Option("--stream", help="The stream's name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]

#: Everything that is not data goes here.
console = Console(stderr=True, soft_wrap=True)


def environment(home: Path | None = None, pool: Path | None = None) -> Environment:
    """The environment with a command's flags laid over it."""
    found = Environment.read()
    if home is not None:
        whole = home.resolve()
        url = found.database_url if found.database_url != f"sqlite:///{found.home / 'karma.db'}" else None
        found = replace(found, home=whole, database_url=url or f"sqlite:///{whole / 'karma.db'}")
    return replace(found, pool_path=pool.resolve()) if pool is not None else found


def read_pool(found: Environment) -> Pool:
    """The pool file of an environment."""
    return Pool.read(found.pool_path)


def open_store(found: Environment, promised: bool = False) -> Store:
    """The store, brought to this version's schema; `promised`: a commit is a promise to the caller."""
    store = Store(found.database_url, durability="full" if promised else "normal")
    store.migrate()
    return store
