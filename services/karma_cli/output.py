"""How every command prints: results on standard output, everything else on standard error.

A result is a table with lines on a terminal, plain columns in a pipe, one JSON object with `--json`, or bare values,
one per line, with `-q`. Text of users and models is escaped before it is shown.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Annotated, Any, Concatenate, Literal, ParamSpec

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from karma.errors import SettingsError
from karma.telemetry.escaping import escape_control
from karma_monitor.figures.formatting import share

_FLAGS: Mapping[str, tuple[Any, Any]] = {
    "form": (
        Annotated[
            Literal["auto", "human", "json"],
            typer.Option("--format", help="auto: tables on a terminal, plain columns in a pipe."),
        ],
        "auto",
    ),
    "as_json": (Annotated[bool, typer.Option("--json", help="Same as --format json.")], False),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="Print only ids or values, one per line.")], False),
}

#: Columns of a line in a pipe, where no terminal limits them.
_PIPED_WIDTH = 400

#: Standard error.
console = Console(stderr=True, soft_wrap=True)

_P = ParamSpec("_P")


class Output:
    """Prints the result of a command in the form that its flags ask for."""

    def __init__(self, form: Literal["human", "plain", "json", "quiet"]) -> None:
        self.form = form

    @classmethod
    def from_flags(cls, form: str = "auto", as_json: bool = False, quiet: bool = False) -> Output:
        """The form that the flags ask for.

        Raises:
            SettingsError: they contradict each other.
        """
        if quiet and (as_json or form != "auto"):
            raise SettingsError(f"-q prints bare values only; leave out {'--json' if as_json else '--format'}")
        if as_json and form == "human":
            raise SettingsError("--json and --format human contradict each other; give one of them")
        if quiet:
            return cls("quiet")
        if as_json or form == "json":
            return cls("json")
        on_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        return cls("human" if form == "human" or on_terminal else "plain")

    def result(self, data: Mapping[str, Any], shown: RenderableType | None, values: Iterable[object]) -> None:
        """Print the result.

        Args:
            data: the whole result, for `--json`; `version` 1 is added where the data has none.
            shown: for people and pipes; text is printed as it is, None prints nothing.
            values: for `-q`, one per line.
        """
        if self.form == "json":
            print(json.dumps({"version": 1, **data}), flush=True)
        elif self.form == "quiet":
            for value in values:
                print(escape_control(str(value)), flush=True)
        elif isinstance(shown, str):
            print(shown, flush=True)
        elif shown is not None:
            self.console().print(_plain_columns(shown) if self.form == "plain" else shown)

    def note(self, text: str) -> None:
        """Print a remark on standard error; `-q` and `--json` leave it out."""
        if self.form in ("human", "plain"):
            warn(text)

    @property
    def shows_progress(self) -> bool:
        """Whether progress is shown: standard error is a terminal, and the command is not quiet."""
        return self.form != "quiet" and sys.stderr.isatty() and not console.is_dumb_terminal

    @staticmethod
    def console() -> Console:
        """Standard output, as wide as the terminal, or wide enough for a table in a pipe."""
        return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def with_format_flags(command: Callable[Concatenate[Output, _P], None]) -> Callable[..., None]:
    """Add `--format`, `--json` and `-q` to a command, and pass it an `Output` as its first argument."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        flags = {name: options.pop(name, default) for name, (_type, default) in _FLAGS.items()}
        command(Output.from_flags(**flags), *arguments, **options)

    _output, *own = inspect.signature(command, eval_str=True).parameters.values()
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _FLAGS.items()
    ]
    signature = inspect.Signature([*own, *flags])
    run.__signature__ = signature  # type: ignore[attr-defined]  # where typer looks for a command's options
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    return run


def warn(text: str, style: str | None = None) -> None:
    """Print a sentence on standard error in every form. Brackets and control characters in it are plain text."""
    console.print(escape_control(text, lines=True), style=style, markup=False, highlight=False)


def reason_table(reasons: Iterable[Mapping[str, Any]], title: str) -> Table:
    """Reasons of failures (`karma_monitor.queries.failures`) as a table."""
    table = Table("failed", "of", "name", "example", "what helps", title=title, title_justify="left")
    for reason in reasons:
        texts = (reason["of"], reason["name"], reason["example"], reason["help"])
        table.add_row(f"{reason['count']:,}", *(Text(escape_control(text)) for text in texts))
    return table


def preference_table(figures: Iterable[Mapping[str, Any]]) -> Table:
    """Chosen responses beside rejected ones, by the figures of `karma_monitor.figures.preferences`."""
    titles = ("stream", "labels", "preferences", "chosen is longer", "chosen ÷ rejected length", "median")
    table = Table(*titles, "quality", "competency", title="chosen responses of the newest pairs", title_justify="left")
    for one in figures:
        length = (one["length_log_ratio_mean"], one["length_log_ratio_median"])
        table.add_row(
            Text(escape_control(one["stream"])),
            one["label_source"],
            f"{one['preferences']:,}",
            share(one["longer_share"]),
            *("–" if value is None else f"{math.exp(value):.2f}" for value in length),
            *(chosen_and_rejected(one, name) for name in ("quality", "competency")),
        )
    return table


def chosen_and_rejected(figures: Mapping[str, Any], name: str) -> str:
    """The means of both sides, such as `0.81, rejected 0.42`."""
    chosen, rejected = figures[f"chosen_{name}"], figures[f"rejected_{name}"]
    return "–" if chosen is None else f"{chosen:.2f}, rejected {rejected:.2f}"


def _plain_columns(shown: RenderableType) -> RenderableType:
    """Tables without lines, for other programs to read."""
    if isinstance(shown, Group):
        return Group(*(_plain_columns(part) for part in shown.renderables))
    if isinstance(shown, Table):
        shown.box, shown.pad_edge, shown.padding = None, False, (0, 2, 0, 0)
    return shown
