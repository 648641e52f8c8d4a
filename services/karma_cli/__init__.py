"""The `karma` command. Standard output is data, standard error is everything else.

Exit codes: 0 done, 1 the request could not be wholly met, 2 bad input or configuration.
"""

from __future__ import annotations

import os
import sys

import typer

from karma.errors import KarmaError
from karma_cli.commands import data, demo, insight, page, run, show

app = typer.Typer(
    name="karma",
    help="Streams of prompts in, preference data for DPO, KTO and reward models out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(run.up)
app.command("down")(run.down)
app.command("worker")(run.worker)
app.command("page")(page.page)
app.command("enqueue")(data.enqueue)
app.command("requeue")(data.requeue)
app.command("export")(data.export)
app.command("pause")(page.pause)
app.command("resume")(page.resume)
app.command("status")(show.status)
app.command("watch")(show.watch)
app.command("models")(show.models)
app.command("explain")(insight.explain)
app.command("report")(insight.report)
app.command("rematch")(insight.rematch)
app.command("demo")(demo.demo)


def main() -> None:
    """Run a command; what KARMA raises on purpose is one clear sentence, never a traceback."""
    try:
        app()
    except KarmaError as error:
        print(f"karma: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
