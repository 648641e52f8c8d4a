"""`karma doctor`: what it calls, what `karma up` says of it, plug-ins, and judges that are kin to what they judge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from karma_cli.commands.doctor.at_start import report, start
from tests.support.endpoint import Endpoint, serve
from tests.support.pipeline import Pipeline

JUDGES = """
[judges.reference]
kind = "verifier"
[judges.fair]
kind = "openai"
[judges.fair.model]
backend = "openai"
model = "judge-fair"
base_url = "{url}"
"""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serve() as running:
        yield running


def model(name: str, url: str, more: str = "") -> str:
    return f'[models.{name}]\nbackend = "openai"\nmodel = "{name}"\nbase_url = "{url}"\n{more}\n'


def checked(tmp_path: Path, pool: str, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code of `karma doctor`, and its rows by name, each with its findings."""
    karma = Pipeline(tmp_path, pool, "tests.support.instant")
    karma.environment["KEY_WITHOUT_VALUE"] = ""
    done = karma.run("doctor", "--json", *arguments, check=False)
    said = json.loads(done.stdout)
    return done.returncode, {
        row["name"]: {**row, "codes": [found["code"] for found in said["findings"] if found["name"] == row["name"]]}
        for row in said["checked"]
    }


def test_what_works_is_called_twice_and_a_judge_also_with_long_responses(tmp_path: Path, endpoint: Endpoint) -> None:
    pool = model("a", endpoint.url) + model("b", endpoint.url) + JUDGES.format(url=endpoint.url)
    code, rows = checked(tmp_path, pool)
    assert (code, {row["state"] for row in rows.values()}) == (0, {"works"})
    assert endpoint.requests == {"a": 2, "b": 2, "judge-fair": 3}
    assert checked(tmp_path, pool, "--quick")[0] == 0
    assert endpoint.requests == {"a": 3, "b": 3, "judge-fair": 4}


def test_a_judge_whose_verdicts_come_with_the_prompts_works(tmp_path: Path) -> None:
    code, rows = checked(tmp_path, '[judges.people]\nkind = "given"\n')
    assert (code, rows["people"]["state"]) == (0, "works")


def test_a_model_with_batch_jobs_is_called_without_one(tmp_path: Path, endpoint: Endpoint) -> None:
    pool = model("a", endpoint.url, "batch = true") + model("b", endpoint.url) + JUDGES.format(url=endpoint.url)
    code, rows = checked(tmp_path, pool, "--quick")
    assert (code, rows["a"]["state"], endpoint.requests["a"]) == (0, "works", 1)


def test_an_endpoint_that_is_busy_works(tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.scripted.append(web.Response(status=429))
    code, rows = checked(
        tmp_path, model("a", endpoint.url) + model("b", endpoint.url) + JUDGES.format(url=endpoint.url)
    )
    assert (code, {row["state"] for row in rows.values()}) == (0, {"works"})
    assert [code for row in rows.values() for code in row["codes"]].count("rate-limited") == 1


def test_only_what_is_named_is_called(tmp_path: Path, endpoint: Endpoint) -> None:
    pool = model("a", endpoint.url) + model("b", endpoint.url) + JUDGES.format(url=endpoint.url)
    _code, rows = checked(tmp_path, pool, "b", "reference")
    assert (list(rows), endpoint.requests) == (["b", "reference"], {"b": 2})
    done = Pipeline(tmp_path, pool).run("doctor", "fare", check=False)
    assert (done.returncode, "did you mean 'fair'?" in done.stderr) == (2, True)


def test_a_plug_in_is_called_like_any_other(tmp_path: Path) -> None:
    from tests.support.instant import POOL

    assert checked(tmp_path, POOL)[0] == 0


def test_up_says_what_does_not_work_and_runs_all_the_same(tmp_path: Path, endpoint: Endpoint) -> None:
    pool = model("good", endpoint.url) + model("dead", "http://127.0.0.1:9/v1") + JUDGES.format(url=endpoint.url)
    karma = Pipeline(tmp_path, pool)
    said = karma.run("up", "--detach", "--no-page").stderr
    try:
        assert "KARMA is up" in said
        assert "the model dead does not work: nothing listens at 127.0.0.1:9 (start the server" in said
        assert "the model good" not in said
        (asked,) = (info.specifications for info in karma.workers("gateway"))
        served = [info.specifications for name in ("generation", "judging") for info in karma.workers(name)]
        assert served
        assert {queue: name for one in served for queue, name in one.items()} == asked  # nobody is in conflict
    finally:
        karma.run("down")


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ('[stream]\npolicy = "kinship"\n', "[stream] policy: no policy is called 'kinship' (did you mean 'kin'?)"),
        ('[judges.x]\nkind = "verifier"\nchecker = "anser"\n', "no checker is called 'anser' (did you mean 'answer'?)"),
        ('[models.c]\nbackend = "opnai"\nmodel = "c"\n', "no backend is called 'opnai' (did you mean 'openai'?)"),
        ('[stream]\nembedder = "./nowhere"\n', "embedder is './nowhere': there is no folder"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_starts(tmp_path: Path, wrong: str, expected: str) -> None:
    pool = model("a", "http://h/v1") + model("b", "http://h/v1") + JUDGES.format(url="http://h/v1") + wrong
    done = Pipeline(tmp_path, pool).call("up", check=False)
    assert (done.returncode, expected in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "logs").exists()


def test_a_judge_that_is_kin_to_a_model_is_named_and_works_all_the_same(tmp_path: Path, endpoint: Endpoint) -> None:
    """In the JSON, beside the table, only for the judges asked for, and by `karma status`."""
    pool = model("a", endpoint.url) + model("judge-fair", endpoint.url) + JUDGES.format(url=endpoint.url)
    karma = Pipeline(tmp_path, pool, "tests.support.instant")
    said = "The judge fair may favor its kin, which it judges: judge-fair (the judge's own model). Name a judge of "
    found = json.loads(karma.call("doctor", "--json").stdout)
    said = said.partition(" Name a")[0]
    assert [one["read"] for one in found["findings"] if one["code"] == "judge-kin"] == [said]
    assert {row["state"] for row in found["checked"]} == {"works"}
    assert said in " ".join(karma.call("doctor", "fair").stdout.split())
    assert "kin" not in karma.call("doctor", "reference").stdout
    assert said in " ".join(karma.call("status").stdout.split())
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Say yes"}\n')
    assert said in " ".join(karma.call("enqueue", str(tmp_path / "prompts.jsonl")).stderr.split())


def test_the_check_of_a_start_says_which_judges_are_kin(tmp_path: Path, endpoint: Endpoint) -> None:
    pool = model("a", endpoint.url) + model("judge-fair", endpoint.url) + JUDGES.format(url=endpoint.url)
    (tmp_path / "pool.toml").write_text(pool)
    said: list[str] = []
    report(start([f"--pool={tmp_path / 'pool.toml'}", f"--home={tmp_path}"]), said.append)
    assert [sentence[:30] for sentence in said] == ["The judge fair may favor its k"]
