"""Options that several commands share, and the one way in which all of them print.

Standard output is data: a table for people, the same without lines where it is piped, JSON, or bare results one a line.
Standard error is everything else, and whatever is shown of a text that is not ours is made plain first.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Concatenate, Literal, ParamSpec

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import KarmaError, SettingsError
from karma.queue.redis import connect, wake
from karma.store import Store
from karma_monitor.escaping import escape_control

PoolOption = Annotated[
    Path | None, typer.Option("--pool", help="The pool file. [env: KARMA_POOL; default: pool.toml]", show_default=False)
]
HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Where KARMA keeps its files. [env: KARMA_HOME; default: .karma]", show_default=False),
]
StreamOption = Annotated[str, typer.Option("--stream", help="The stream's name.")]

_FLAGS: Mapping[str, tuple[Any, Any]] = {
    "form": (
        Annotated[
            Literal["auto", "human", "json"],
            typer.Option("--format", help="auto: for people on a terminal, plain where it is piped."),
        ],
        "auto",
    ),
    "as_json": (Annotated[bool, typer.Option("--json", help="The same as --format json.")], False),
    "quiet": (
        Annotated[bool, typer.Option("--quiet", "-q", help="Print ids or the bare result only, one a line.")],
        False,
    ),
}

#: Without a terminal, tables get the room they need.
_PIPED_WIDTH = 400

#: Everything that is not data goes here.
console = Console(stderr=True, soft_wrap=True)

_P = ParamSpec("_P")


class Output:
    """What a command says: its result on standard output in the form that was asked for, the rest on standard error."""

    def __init__(self, form: Literal["human", "plain", "json", "quiet"]) -> None:
        self.form = form

    @classmethod
    def chosen(cls, form: str = "auto", as_json: bool = False, quiet: bool = False) -> Output:
        """What the flags ask for.

        Raises:
            SettingsError: they contradict each other.
        """
        if quiet and (as_json or form != "auto"):
            raise SettingsError(f"-q prints the bare result only; leave out {'--json' if as_json else '--format'}")
        if as_json and form == "human":
            raise SettingsError("--json and --format human contradict each other; give one of them")
        if quiet:
            return cls("quiet")
        if as_json or form == "json":
            return cls("json")
        on_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        return cls("human" if form == "human" or on_terminal else "plain")

    def give(self, data: Mapping[str, Any], shown: RenderableType | None, bare: Iterable[object]) -> None:
        """Print the result.

        Args:
            data: all of it, for `--json`; the schema's version is put first where the data says none.
            shown: for people and pipes; a text is printed as it is, None is nothing.
            bare: for `-q`, one a line.
        """
        if self.form == "json":
            print(json.dumps({"version": 1, **data}), flush=True)
        elif self.form == "quiet":
            for one in bare:
                print(escape_control(str(one)), flush=True)
        elif isinstance(shown, str):
            print(shown, flush=True)
        elif shown is not None:
            self.console().print(_without_lines(shown) if self.form == "plain" else shown)

    def say(self, text: str) -> None:
        """A remark on standard error: what was done, or what to do next. `-q` and `--json` leave it out."""
        if self.form in ("human", "plain"):
            warn(text)

    @property
    def shows_progress(self) -> bool:
        """Whether somebody sees how far a command is: on a terminal, and unless it is to be quiet."""
        return self.form != "quiet" and sys.stderr.isatty() and not console.is_dumb_terminal

    @staticmethod
    def console() -> Console:
        """Standard output, as wide as the terminal, or as tables need it where there is none."""
        return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def formatted(command: Callable[Concatenate[Output, _P], None]) -> Callable[..., None]:
    """Give a command the flags `--format`, `--json` and `-q`, and hand it what they ask for as its first argument."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        flags = {name: options.pop(name, default) for name, (_type, default) in _FLAGS.items()}
        command(Output.chosen(**flags), *arguments, **options)

    _output, *own = inspect.signature(command, eval_str=True).parameters.values()
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _FLAGS.items()
    ]
    whole = inspect.Signature([*own, *flags])
    run.__signature__ = whole  # type: ignore[attr-defined]  # where typer looks for a command's options
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in whole.parameters.values()}
    return run


def warn(text: str) -> None:
    """A sentence on standard error that is said in any form. Brackets and control characters in it are text."""
    console.print(escape_control(text, lines=True), markup=False, highlight=False)


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


def wake_gateway(found: Environment) -> None:
    """Tell a gateway that there is something to do. Best effort: one that is not told looks within a second."""
    try:
        wake(connect(found.broker_url()))
    except KarmaError:
        return


def _without_lines(shown: RenderableType) -> RenderableType:
    """Tables as columns with nothing but spaces between them, as other programs expect of a pipe."""
    if isinstance(shown, Group):
        return Group(*(_without_lines(part) for part in shown.renderables))
    if isinstance(shown, Table):
        shown.box, shown.pad_edge = None, False
    return shown
