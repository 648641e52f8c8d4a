"""`karma check`: one small call of each model and judge says what works, why the rest does not, and what helps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from karma_cli.commands.check import report, start
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
    """The exit code of `karma check`, and its rows by name."""
    karma = Pipeline(tmp_path, pool, "tests.support.instant")
    karma.environment["KEY_WITHOUT_VALUE"] = ""
    done = karma.run("check", "--json", *arguments, check=False)
    return done.returncode, {row["name"]: row for row in json.loads(done.stdout)["checked"]}


def test_what_works_is_called_once(tmp_path: Path, endpoint: Endpoint) -> None:
    code, rows = checked(
        tmp_path, model("a", endpoint.url) + model("b", endpoint.url) + JUDGES.format(url=endpoint.url)
    )
    assert (code, {row["state"] for row in rows.values()}) == (0, {"works"})
    assert endpoint.requests == {"a": 1, "b": 1, "judge-fair": 1}


def test_what_does_not_work_is_named_with_the_reason_and_what_helps(tmp_path: Path, endpoint: Endpoint) -> None:
    pool = (
        model("good", endpoint.url)
        + model("keyless", endpoint.url, 'api_key_env = "KEY_WITHOUT_VALUE"')
        + model("short", endpoint.url.removesuffix("/v1"))
        + model("dead", "http://127.0.0.1:9/v1")
        + '[models.empty]\nbackend = "transformers"\nmodel = "./empty"\n'
        + '[models.far]\nbackend = "transformers"\nmodel = "nosuch/model"\n'
        + JUDGES.format(url=endpoint.url)
    )
    (tmp_path / "empty").mkdir()
    code, rows = checked(tmp_path, pool)
    assert code == 1
    assert {name: row["why"] for name, row in rows.items() if row["why"] is None} == dict.fromkeys(
        ["good", "reference", "fair"]
    )
    for name, why, helps in (
        ("keyless", "KEY_WITHOUT_VALUE", "set the variable"),
        ("short", "404", "base_url does not end with /v1"),
        ("dead", "connection dropped", "is the endpoint running at base_url?"),
        ("empty", "has no config.json and no *.safetensors", "the folder of a checkpoint"),
        ("far", "nosuch/model is no folder, not in the hub's cache", "download it once"),
    ):
        assert why in rows[name]["why"]
        assert helps in rows[name]["help"]


def test_an_endpoint_that_is_busy_works(tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.scripted.append(web.Response(status=429))
    code, rows = checked(
        tmp_path, model("a", endpoint.url) + model("b", endpoint.url) + JUDGES.format(url=endpoint.url)
    )
    assert (code, rows["a"]["why"]) == (0, None)


def test_only_what_is_named_is_called(tmp_path: Path, endpoint: Endpoint) -> None:
    pool = model("a", endpoint.url) + model("b", endpoint.url) + JUDGES.format(url=endpoint.url)
    _code, rows = checked(tmp_path, pool, "b", "reference")
    assert (list(rows), endpoint.requests) == (["b", "reference"], {"b": 1})
    done = Pipeline(tmp_path, pool).run("check", "fare", check=False)
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
        assert "the model dead does not work: connection dropped" in said
        assert "the model good" not in said
        assert karma.workers("generation")
    finally:
        karma.run("down")


@pytest.mark.parametrize("command", [["up"], ["check"]], ids=" ".join)
@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ('[stream]\npolicy = "kinship"\n', "[stream] policy: no policy is called 'kinship' (did you mean 'kin'?)"),
        ('[judges.x]\nkind = "verifier"\nchecker = "anser"\n', "no checker is called 'anser' (did you mean 'answer'?)"),
        ('[models.c]\nbackend = "opnai"\nmodel = "c"\n', "no backend is called 'opnai' (did you mean 'openai'?)"),
        ('[stream]\nembedder = "./nowhere"\n', "embedder is './nowhere': there is no folder"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_starts(
    tmp_path: Path, command: list[str], wrong: str, expected: str
) -> None:
    pool = model("a", "http://h/v1") + model("b", "http://h/v1") + JUDGES.format(url="http://h/v1") + wrong
    done = Pipeline(tmp_path, pool).call(*command, check=False)
    assert (done.returncode, expected in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "logs").exists()


def test_a_judge_that_is_kin_to_a_model_is_named_and_works_all_the_same(tmp_path: Path, endpoint: Endpoint) -> None:
    """In the JSON, beside the table, only for the judges asked for, and by `karma status`."""
    pool = model("a", endpoint.url) + model("judge-fair", endpoint.url) + JUDGES.format(url=endpoint.url)
    karma = Pipeline(tmp_path, pool, "tests.support.instant")
    said = "The judge fair may favor its kin, which it judges: judge-fair (the judge's own model). Name a judge of "
    found = json.loads(karma.call("check", "--json").stdout)
    assert [notice[: len(said)] for notice in found["notices"]] == [said]
    assert {row["state"] for row in found["checked"]} == {"works"}
    assert said in " ".join(karma.call("check", "fair").stderr.split())
    assert "kin" not in karma.call("check", "reference").stderr
    assert said in " ".join(karma.call("status").stdout.split())
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Say yes"}\n')
    assert said in " ".join(karma.call("enqueue", str(tmp_path / "prompts.jsonl")).stderr.split())


def test_the_check_of_a_start_says_which_judges_are_kin(tmp_path: Path, endpoint: Endpoint) -> None:
    pool = model("a", endpoint.url) + model("judge-fair", endpoint.url) + JUDGES.format(url=endpoint.url)
    (tmp_path / "pool.toml").write_text(pool)
    said: list[str] = []
    report(start([f"--pool={tmp_path / 'pool.toml'}", f"--home={tmp_path}"]), said.append)
    assert [sentence[:30] for sentence in said] == ["The judge fair may favor its k"]
