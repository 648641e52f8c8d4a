"""`karma enqueue`: every row of any source ends as taken, present, a skipped duplicate, or refused with a reason."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest

from karma.store import Store
from tests.support.command import call


class Enqueuing:
    """`karma enqueue` on a store of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.url = home, f"sqlite:///{home}/karma.db"
        home.mkdir()
        Store(self.url).create()  # migrations take a second

    def __call__(self, *arguments: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
        surroundings = {"KARMA_HOME": str(self.home), "KARMA_DATABASE_URL": self.url, "PATH": "/usr/bin:/bin"}
        return call("enqueue", *map(str, arguments), environment=surroundings, text=text)

    def prompts(self) -> dict[str, list[dict[str, Any]]]:
        """The turns of every stored prompt by its id."""
        with Store(self.url).reading() as transaction:
            found = transaction.ledger.connection.exec_driver_sql("SELECT prompt_id, messages FROM prompts ORDER BY id")
            return {id_: json.loads(messages) for id_, messages in found}


@pytest.fixture
def enqueue(tmp_path: Path) -> Enqueuing:
    return Enqueuing(tmp_path / "home")


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_folder_of_several_formats_is_taken_and_its_forms_are_said(enqueue: Enqueuing, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    jsonl(folder / "a.jsonl", {"instruction": "Go.", "output": "Gone."}, {"instruction": "Stop."})
    table = pyarrow.table(
        {"conversations": [[{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]], "id": [4]}
    )
    parquet.write_table(table, folder / "b.parquet")
    (folder / "c.csv").write_text("prompt,id\nhello,007\n")
    done = enqueue(folder, "--cut-last-assistant")
    assert done.returncode == 0, done.stderr
    assert f"{folder}: 3 files" in done.stderr
    for said in (
        "Alpaca form: 2 prompts from instruction",
        "ShareGPT form: 1 prompts from conversations",
        "1 chats were cut before their last assistant turn",
        "4 accepted, 0 already present, 0 refused",
    ):
        assert said in done.stderr
    found = enqueue.prompts()
    assert list(found)[2:] == ["4", "007"]
    assert found["4"] == [{"role": "user", "content": "q"}]


def test_refusals_are_said_by_kind_and_written_with_their_rows(enqueue: Enqueuing, tmp_path: Path) -> None:
    bad = [{"prompt": n} for n in range(25)]
    path = jsonl(tmp_path / "p.jsonl", *bad, {"messages": []}, {"prompt": "good"})
    done = enqueue(path, "--rejects", tmp_path / "rejects.jsonl")
    assert done.returncode == 1
    assert "25 refused, for example: `prompt` must be a string, found a number (0)" in done.stderr
    assert "1 refused, for example: `messages` must be a list of turns" in done.stderr
    assert f"1 accepted, 0 already present, 26 refused (see {tmp_path}/rejects.jsonl)" in done.stderr
    assert json.loads(enqueue(path, "--json").stdout)["refused"] == 26
    rejects = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert [json.loads(reject["line"]) for reject in rejects] == [*bad, {"messages": []}]
    assert rejects[0] | {"reason": ""} == {"source": str(path), "number": 1, "reason": "", "line": '{"prompt": 0}'}


def test_an_unknown_form_names_its_columns_and_the_option_that_helps(enqueue: Enqueuing, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("question,topic\nWhy?,physics\n")
    refused = enqueue(path)
    assert refused.returncode == 1
    assert (
        "found the columns question, topic; name the one that holds the prompt: --map prompt=COLUMN" in refused.stderr
    )
    assert enqueue(path, "--map", "prompt=question", "--drop", "topic").returncode == 0
    assert list(enqueue.prompts().values()) == [[{"role": "user", "content": "Why?"}]]


def test_duplicates_are_skipped_or_kept_and_counted(enqueue: Enqueuing, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "p.jsonl", {"prompt": "p", "id": 1}, {"prompt": "p", "id": 2}, {"prompt": "p"})
    done = enqueue(path, "--duplicates", "skip")
    assert "1 accepted, 0 already present, 2 duplicates skipped, 0 refused" in done.stderr
    done = enqueue(path, "--duplicates", "skip", "--json")
    assert json.loads(done.stdout)["duplicates"] == {"skipped": 2, "kept": 0}
    assert "2 accepted, 1 already present, 2 duplicates kept" in enqueue(path, "--duplicates", "keep").stderr
    assert "0 accepted, 3 already present" in enqueue(path, "--duplicates", "keep").stderr


def test_several_files_may_be_named_and_a_broken_one_takes_no_other_with_it(enqueue: Enqueuing, tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1\x00\x00")
    done = enqueue(tmp_path / "cut.parquet", jsonl(tmp_path / "p.jsonl", {"prompt": "p"}))
    assert done.returncode == 1
    assert f"× {tmp_path}/cut.parquet: is no whole Parquet file" in done.stderr
    assert len(enqueue.prompts()) == 1


def test_an_estimate_reads_any_form(enqueue: Enqueuing, tmp_path: Path) -> None:
    pool = tmp_path / "pool.toml"
    model = (
        '{ backend = "openai", model = "m", base_url = "http://127.0.0.1:9/v1", price = { input = 1.0, output = 2.0 } }'
    )
    pool.write_text(f'models.a = {model}\nmodels.b = {model}\njudges.v.kind = "verifier"\n')
    done = enqueue("-", "--estimate", "--pool", pool, text='[{"instruction": "Go."}, {"instruction": 7}]')
    assert "1 lines would be refused" in done.stderr
    assert "1 prompt would cost about" in done.stderr
