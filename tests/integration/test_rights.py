"""A store that belongs to another user: it is read without writing, and a command that writes says whose it is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import call
from tests.support.users import another_user, shared_folder

READING = (["status"], ["models"], ["watch", "--once"], ["explain", "1"])
PROMPT = '{"prompt": "a", "responses": [{"model": "x", "text": "b"}, {"model": "y", "text": "c"}]}\n'
POOL = '[judges.j]\nkind = "prior"\n'


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with one prompt, in which nobody but its owner may write."""
    with shared_folder() as folder:
        (folder / "pool.toml").write_text(POOL)
        home = folder / "home"
        assert run(home, "enqueue", "-", text=PROMPT).returncode == 0
        for command in (*READING, ["enqueue", "-"], ["pause"]):  # imports what the other user cannot
            run(home, *command, text=PROMPT)
        run(home, "resume")
        for path in [home, *home.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield home


def run(home: Path, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"KARMA_HOME": str(home), "KARMA_POOL": str(home.parent / "pool.toml")}
    return call(*arguments, environment=environment, text=text)


@pytest.mark.parametrize("command", READING[:-1], ids=" ".join)
def test_a_command_that_reads_needs_no_right_to_write(home: Path, command: list[str]) -> None:
    before = sorted(home.rglob("*"))
    with another_user():
        done = run(home, *command, "--json")
    assert (done.returncode, sorted(home.rglob("*"))) == (0, before), done.stderr
    if command == ["status"]:
        assert json.loads(done.stdout)["prompts"]["accepted"] == 1


@pytest.mark.parametrize("command", [["enqueue", "-"], ["pause"], ["requeue"]], ids=" ".join)
def test_a_command_that_writes_says_in_one_sentence_whose_file_it_is(home: Path, command: list[str]) -> None:
    with another_user():
        done = run(home, *command, text=PROMPT)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert "this user may not write" in said
    assert f"belongs to {home.owner()}" in said
    assert "choose another KARMA_HOME" in said


def test_a_home_that_cannot_be_made_is_one_sentence(home: Path) -> None:
    with another_user():
        done = run(home / "deeper", "enqueue", "-", text=PROMPT)
    assert (done.returncode, done.stderr) == (
        1,
        f"karma: the folder {home / 'deeper'} of the store cannot be made: Permission denied\n",
    )


def test_a_store_that_may_not_be_read_is_one_sentence(home: Path) -> None:
    home.chmod(0o700)
    with another_user():
        done = run(home, "status")
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert f"this user may not read {home / 'karma.db'}" in said


def test_a_reading_command_makes_no_file_where_there_is_no_store(tmp_path: Path) -> None:
    done = run(tmp_path / "typo", "status", "--json")
    assert done.returncode == 0
    assert f"there is no store at {tmp_path / 'typo' / 'karma.db'} yet" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_up_in_a_folder_without_rights_is_one_sentence(home: Path) -> None:
    run(home, "down")
    with another_user():
        done = run(home / "deeper", "page")
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.endswith("Permission denied")
