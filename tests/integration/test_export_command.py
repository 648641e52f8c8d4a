"""`karma export`, as a user calls it: folders, filters, what is refused, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from karma.store import Store
from tests.support.command import call
from tests.support.memory import Flow, make_pool
from tests.support.pipeline import wait_until

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def karma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`karma` on a home with 12 preferences, one of them with two turns of the user."""
    store = Store(f"sqlite:///{tmp_path / 'karma.db'}")
    store.create()
    flow = Flow(store, make_pool("ab"))
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    flow.accept(*({"prompt": f"Say {n}", "skill": "ab"[n % 2]} for n in range(11)), {"messages": chat})
    flow.finish()
    store.close()
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call(
        *arguments, environment={"KARMA_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin"}
    )


def test_a_folder_has_a_card_and_the_result_names_it(karma: Command, tmp_path: Path) -> None:
    done = karma("export", "trl-dpo", "data", "--split", "train=.5,test=.5", "--license", "cc-by-4.0", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["path"], result["preferences"], result["unrepresentable"]) == ("data", 12, {})
    head = yaml.safe_load((tmp_path / "data" / "README.md").read_text().split("---")[1])
    assert head["license"] == "cc-by-4.0"
    (configuration,) = head["configs"]
    assert {one["split"] for one in configuration["data_files"]} == {"train", "test"}
    assert len(list((tmp_path / "data" / "trl-dpo").glob("t*-00000.parquet"))) == 2
    assert "Labels against references: unknown" in (tmp_path / "data" / "README.md").read_text()


def test_what_a_format_has_no_place_for_is_said_once_and_the_command_exits_1(karma: Command) -> None:
    for out in ("out.jsonl", "out", "-"):
        done = karma("export", "distilabel", out)
        assert done.returncode == 1
        assert done.stderr.count("1 preferences left out, as distilabel has no place for several turns") == 1
        assert "11 preferences" in done.stderr


def test_filters_are_options(karma: Command) -> None:
    def count(*options: str) -> int:
        return len(karma("export", "jsonl", "-", *options).stdout.splitlines())

    assert count("--skill", "a") == 6
    assert count("--skill", "a", "--skill", "b") == 11
    assert count("--policy", "informative", "--dedup") == 12
    assert count("--policy", "none") == 0


def test_rows_of_kto_on_standard_output_are_mixed(karma: Command) -> None:
    rows: list[dict[str, Any]] = [json.loads(line) for line in karma("export", "kto", "-").stdout.splitlines()]
    assert len(rows) == 24
    assert all(first["prompt"] != second["prompt"] for first, second in pairwise(rows))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["trl-dpo", "out.jsonl", "--split", "train=1"],
            "--split: out.jsonl is no folder. Name a folder, for example out",
        ),
        (["trl-dpo", "data", "--split", "train=.9"], "add up to 0.9, expected 1"),
        (["trl-dpo", "out.jsonl", "--follow"], "--follow: out.jsonl is no folder"),
        (["kto", "-", "--follow"], "rows of kto are mixed once all are read"),
        (["trl-dpo", "-", "--count-tokens", "x", "--max-length", "9"], "is no tokenizer that can be loaded"),
        (["trl-dpo", "out.csv"], "must end with .jsonl or .parquet"),
    ],
)
def test_what_cannot_be_written_is_bad_input(karma: Command, arguments: list[str], said: str, tmp_path: Path) -> None:
    done = karma("export", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(("out", "data"))] == []


@pytest.mark.parametrize("out", ["-", "data"])
def test_an_export_that_follows_writes_what_is_resolved_later_and_ends_when_it_is_told(
    karma: Command, tmp_path: Path, out: str
) -> None:
    printed = tmp_path / "printed.jsonl"

    def written() -> int:
        if out == "-":
            return printed.read_text().count("\n")
        return sum(pq.read_metadata(path).num_rows for path in (tmp_path / out).glob("jsonl/*.parquet"))

    environment = {**os.environ, "KARMA_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "karma_cli", "export", "jsonl", out, "--follow", "--every", "0.2"]
    with printed.open("w") as file, subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=file) as running:
        try:
            wait_until(lambda: written() >= 12, 30, "what was there is written")
            store = Store(f"sqlite:///{tmp_path / 'karma.db'}")
            flow = Flow(store, make_pool("ab"))
            flow.accept(*({"prompt": f"Later {n}"} for n in range(5)))
            flow.finish()
            store.close()
            wait_until(lambda: written() >= 17, 30, "what came later is written")
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0
        finally:
            running.kill()
    assert written() == 17
