"""`karma validate`, as a user calls it: exports of every format pass, corruptions are named, memory is flat."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from karma.plugins.registry import EXPORTERS
from karma.store import Store
from karma_validation.validate import validate
from tests.support.command import call
from tests.support.memory import Flow, make_pool

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def karma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    store = Store(f"sqlite:///{tmp_path / 'karma.db'}")
    store.create()
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"Say {n}"} for n in range(20)))
    flow.finish()
    store.close()
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call(
        *arguments, environment={"KARMA_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin"}
    )


@pytest.mark.parametrize("form", EXPORTERS)
def test_an_export_of_every_format_passes_as_file_and_as_folder(karma: Command, form: str) -> None:
    assert karma("export", form, "out.jsonl").returncode == 0
    assert karma("export", form, "data", "--split", "train=.5,test=.5").returncode == 0
    for path in ("out.jsonl", "data"):
        done = karma("validate", path, "--as", form, "--json")
        result = json.loads(done.stdout)
        assert (done.returncode, result["errors"], result["warnings"]) == (0, 0, 0), result["problems"]
        assert result["rows"] == (40 if form == "kto" else 20)
    assert result["splits"].keys() == {"train", "test"}


def test_several_configurations_of_a_folder_are_told_apart(karma: Command) -> None:
    karma("export", "trl-dpo", "data")
    karma("export", "kto", "data")
    done = karma("validate", "data", "--json")
    result = json.loads(done.stdout)
    assert (result["rows"], result["problems"]) == (60, [])
    assert sorted(map(tuple, result["files"].values())) == [("kto",), ("trl-dpo",)]


def test_errors_are_named_by_row_and_exit_1(karma: Command, tmp_path: Path) -> None:
    karma("export", "reward", "out.jsonl")
    lines = Path("out.jsonl").read_text().splitlines()
    row = json.loads(lines[4])
    row["margin"] = float("nan")
    lines[4] = json.dumps(row)
    Path("out.jsonl").write_text("\n".join(lines))
    done = karma("validate", "out.jsonl")
    assert done.returncode == 1
    assert "out.jsonl:5: margin is nan" in done.stdout
    assert "20 rows of openrlhf or reward: 1 errors, 0 warnings" in done.stderr
    assert karma("validate", "out.jsonl", "-q").stdout == "out.jsonl:5 margin\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.jsonl"], "none.jsonl: there is no such file or folder"),
        (["pool.csv"], "expected a file that ends with .jsonl, .json or .parquet"),
        (["x.jsonl", "--as", "dpo"], "no format is called 'dpo'"),
        (["x.jsonl", "--count-tokens", "t"], "belong together"),
    ],
)
def test_bad_input_says_what_was_expected(karma: Command, arguments: list[str], said: str) -> None:
    Path("pool.csv").write_text("a")
    Path("x.jsonl").write_text("{}\n")
    done = karma("validate", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore")
def test_rows_over_a_limit_of_tokens_are_counted_as_each_trainer_treats_them(karma: Command, tmp_path: Path) -> None:
    from karma_demo.family import checkpoint_path

    tokenizer = str(checkpoint_path("novice"))
    rows = [("short", "a", "b"), ("short", "a" * 100, "b"), ("p" * 100, "a", "b")]
    Path("rows.jsonl").write_text(
        "".join(json.dumps(dict(zip(("prompt", "chosen", "rejected"), row, strict=True))) + "\n" for row in rows)
    )
    done = karma("validate", "rows.jsonl", "--count-tokens", tokenizer, "--max-length", "60", "--json")
    (count,) = json.loads(done.stdout)["tokens"]
    assert (count["rows"], count["dropped_by_dpo"], count["cut_by_dpo"], count["dropped_by_reward"]) == (3, 1, 1, 2)
    assert (
        "TRL's DPO and KTO drop 1 of 3 rows and cut 1"
        in karma("validate", "rows.jsonl", "--count-tokens", tokenizer, "--max-length", "60").stderr
    )


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    path, text = tmp_path / "rows.jsonl", "word " * 100
    with path.open("w") as file:
        for number in range(3000):
            file.write(json.dumps({"prompt": f"{number} {text}", "chosen": "yes " + text, "rejected": text}) + "\n")
    tracemalloc.start()
    try:
        assert validate(path).rows == 3000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak * 5 < path.stat().st_size
