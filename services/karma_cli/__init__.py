"""The `karma` command. Results go to standard output, everything else to standard error.

A command's module is imported when the command runs, so that `karma --help` is fast. Exit codes: 0 done, 1 the request
was not met or only in part, 2 bad input or configuration.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from karma.errors import KarmaError
from karma.imports import collection_paused
from karma.telemetry.escaping import escape_control

#: The commands, in the order of `karma --help`, which shows these sentences.
COMMANDS = {
    "init": "Write a pool file for Ollama, vLLM, OpenAI, LiteLLM, or folders with checkpoints.",
    "doctor": "Find out what does not work: models, judges, keys, the pool file, Redis, the store and the disk.",
    "up": "Run the whole pipeline on this machine: an embedded Redis, one process per service, and the page.",
    "down": "Stop the pipeline that `karma up` started. Unfinished work resumes at the next `karma up`.",
    "worker": "Run one worker. Start more workers to scale a service.",
    "page": "Serve the page alone. `karma up` already serves it.",
    "token": "Print a link that opens the page, with a new token.",
    "enqueue": "Accept prompts from files, folders or standard input.",
    "judge": "Judge answers that exist already, and write the preferences. Nothing is generated.",
    "keys": "Print the signing keys of one worker, for a machine that is trusted less.",
    "acl": "Print the users of Redis: one per service, with its own commands and keys only.",
    "refused": "Show the newest messages that were refused, and why.",
    "failures": "Show why calls and prompts failed, by model and judge, and what helps.",
    "requeue": "Retry dead prompts and failed calls.",
    "export": "Write the preferences as a training dataset.",
    "validate": "Check a preference file of any origin for what trainers would stumble over.",
    "verdicts": "Record verdicts of people on pairs that exist.",
    "delete": "Delete a stream with all its data.",
    "pause": "Stop admitting prompts, of one stream or of all.",
    "resume": "Admit prompts again, of one stream or of all.",
    "status": "Show prompts by state, outcomes, queues and workers.",
    "watch": "Show live throughput, losses, pair quality, queues and endpoints.",
    "models": "Show each model's competency with its interval, trend and nearest kin.",
    "explain": "Explain why a pair was formed, how it was judged, and its outcome.",
    "report": "Write an HTML report: the page with its data in one file. It needs no network.",
    "rematch": "Pair stored responses by other policies, have the pairs judged, and compare the policies.",
    "rejudge": "Have the stored pairs of a stream judged by other judges, and compare the labels.",
    "demo": "Run the pipeline on bundled tiny models and print the results.",
}

#: Modules of `karma_cli.commands` with another name than the command.
_MODULES = {
    **{"down": "up", "failures": "requeue", "acl": "worker", "keys": "worker", "page": "worker"},
    **{"doctor": "doctor.command", "init": "init.command", "judge": "judge.command", "export": "export.command"},
    **{"rejudge": "derived.rejudge", "rematch": "derived.rematch"},
    **{"refused": "status", "resume": "pause", "token": "worker"},
}


class LazyCommand(TyperCommand):
    """Stands for a command until it runs."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """The context of the command itself."""
        with _escaped_usage(), collection_paused():
            return load(str(self.name)).make_context(*arguments, **options)


class EscapingGroup(TyperGroup):
    """Refuses what it is given without letting it control the terminal."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """The context of `karma` itself."""
        with _escaped_usage():
            return super().make_context(*arguments, **options)

    def resolve_command(self, *arguments: Any, **options: Any) -> Any:
        """The command of a name."""
        with _escaped_usage():
            return super().resolve_command(*arguments, **options)


@contextmanager
def _escaped_usage() -> Iterator[None]:
    """Escape what an error about the command line quotes of it, such as the name of a file."""
    try:
        yield
    except TyperException as error:
        error.message = escape_control(error.message.removeprefix("Value error, "))
        raise


app = typer.Typer(
    name="karma",
    cls=EscapingGroup,
    help="Streams of prompts in, preference data for DPO, KTO and reward models out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


for _name, _summary in COMMANDS.items():
    app.command(_name, cls=LazyCommand, help=_summary)(lambda: None)


def load(name: str) -> Any:
    """Import a command with its options."""
    module = import_module(f"karma_cli.commands.{_MODULES.get(name, name)}")
    single = typer.Typer(add_completion=False)
    single.command(name)(getattr(module, name))
    return get_command(single)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"karma {version('karma')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The options of `karma` itself."""


def main() -> None:
    """Run a command. A `KarmaError` becomes one sentence on standard error, not a traceback."""
    try:
        app()
    except KarmaError as error:
        print(f"karma: {escape_control(str(error), lines=True)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of the output is gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        # A folder that this user may not write, a full disk: no bug, so no traceback.
        print(f"karma: {escape_control(str(error.filename))}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
