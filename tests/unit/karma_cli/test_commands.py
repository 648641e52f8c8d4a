"""The commands and their documentation: `karma --help` is fast, and the page says what the help says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from karma_cli import COMMANDS, app, load
from tests.support.command_reference import PAGE, SHARED, renewed


def test_the_page_holds_the_help_of_every_command() -> None:
    page = PAGE.read_text()
    assert page == renewed(page), "run: python -m tests.support.command_reference"


def test_the_page_explains_the_flags_that_commands_share() -> None:
    before_reference = PAGE.read_text().split("## Commands")[0]
    for flag in (*SHARED, "karma --version"):
        assert f"`{flag}" in before_reference


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_shows_the_first_words_of_each_help(name: str) -> None:
    assert load(name).help.startswith(COMMANDS[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_flag_is_explained(name: str) -> None:
    assert [option.name for option in load(name).params if not option.help] == []


def test_the_list_of_commands_imports_none_of_them() -> None:
    heavy = "sorted({'numpy', 'sqlalchemy', 'redis', 'karma.store', 'karma_cli.commands'} & set(sys.modules))"
    program = f"import atexit, sys, karma_cli; atexit.register(lambda: print({heavy})); karma_cli.main()"
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f" {name} " in done.stdout for name in COMMANDS)


def test_accepting_prompts_imports_no_package_that_it_does_not_use(tmp_path: Path) -> None:
    unwanted = {"numpy", "prometheus_client", "celery", "pyarrow", "alembic", "aiohttp"}
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "x"}\n')
    heavy = f"sorted({unwanted!r} & set(sys.modules))"
    program = f"import atexit, sys, karma_cli; atexit.register(lambda: print({heavy})); karma_cli.main()"
    command = [sys.executable, "-c", program, "enqueue", str(file), "--home", str(tmp_path / "home"), "-q"]
    subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)  # it makes the store
    again = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert again.stdout.splitlines() == ["0", "[]"]


def test_an_unknown_command_suggests_the_nearest() -> None:
    done = CliRunner().invoke(app, ["statsu"])
    assert (done.exit_code, "Did you mean 'status'?" in done.output) == (2, True)


def test_the_version_is_printed() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output.split()[0]) == (0, "karma")
