"""`karma explain`: why a pair was formed, how it was judged, and its outcome."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing, suppress
from typing import Annotated

import typer

from karma.config.pool import Pool
from karma.errors import SettingsError
from karma.messages import JudgeSpec
from karma_cli.options import HomeOption, open_store_to_read, read_environment
from karma_cli.output import Output, with_format_flags
from karma_monitor.explain import explain as explain_pair
from karma_monitor.explanation import sentences

#: Characters of a text that are shown without `--full`.
_SHOWN_CHARACTERS = 600


@with_format_flags
def explain(
    output: Output,
    pair: Annotated[str, typer.Argument(metavar="PAIR", help="A pair's number, or its id in an export.")],
    full: Annotated[bool, typer.Option("--full", help="Show the whole prompt and responses.")] = False,
    home: HomeOption = None,
) -> None:
    """Explain why a pair was formed, how it was judged, and its outcome.

    `-q` prints the outcome: `decisive`, `tie`, `inconsistent`, `unscored`, or `open`.
    """
    number = pair.rpartition("/")[2]
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise SettingsError(f"{pair!r} is no pair's number; expected one like 17, or an export's id like default/p1/17")
    environment = read_environment(home)
    judges: Iterable[JudgeSpec] = ()
    with suppress(SettingsError):  # without a pool file that can be read, templates have no names
        judges = Pool.read(environment.pool_path).judges.values()
    with closing(open_store_to_read(environment)) as store:
        facts = explain_pair(store, int(number), judges=judges)
    resolution = facts["resolution"]
    shown = sentences(facts, 0 if full else _SHOWN_CHARACTERS)
    output.result(facts, shown, [resolution["outcome"] if resolution else "open"])
