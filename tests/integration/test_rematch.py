"""`karma rematch`, `karma explain`, `karma models` and `karma report` as a user meets them, on real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instant import POOL
from tests.support.pipeline import Pipeline
from tests.support.verifier import assert_exact

PROMPTS = 60
EVIL = "<script>alert('\x1b[31m')</script>"


@pytest.fixture(scope="module")
def karma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline that has judged 60 prompts, each with three responses given, one of them hostile.

    The judge prefers what comes first in the alphabet: a before c before b. Of odd prompts a is right, of even ones b.
    """
    pool = f'{POOL}\nchecker = "exact"\n'
    made = Pipeline(tmp_path_factory.mktemp("rematch"), pool, plugins="tests.support.instant")
    with made.up():
        prompts = [
            {
                "id": f"p{n}",
                "prompt": f"Say {n}.",
                "skill": "talk",
                "reference": f"{n}" if n % 2 else f"it is {n}",
                "responses": {"a": f"{n}", "b": f"it is {n}", "c": f"{EVIL} {n}"},
            }
            for n in range(PROMPTS)
        ]
        assert made.enqueue(prompts, "--stream", "mine")["accepted"] == PROMPTS
        made.wait_for_end(PROMPTS)
        yield made


def rematch(karma: Pipeline, *options: str) -> dict:
    return json.loads(karma.run("rematch", "mine", "--json", *options).stdout)


@pytest.fixture(scope="module")
def compared(karma: Pipeline) -> dict:
    return rematch(karma, "--policy", "random", "--policy", "best-vs-worst", "--policy", "all-pairs", "--pairs", "0")


def test_each_policy_ends_on_every_prompt_without_a_new_generation(karma: Pipeline, compared: dict) -> None:
    assert compared["unfinished"] == 0
    assert list(compared["streams"]) == ["mine@random+0pairs", "mine@best-vs-worst+0pairs", "mine@all-pairs+0pairs"]
    for figures in compared["streams"].values():
        assert (figures["added"], figures["prompts"]) == (PROMPTS, PROMPTS)
    every = compared["streams"]["mine@all-pairs+0pairs"]
    assert (every["pairs"], every["judge_calls"]) == (3 * PROMPTS, 6 * PROMPTS)
    assert every["decisive_per_prompt"] == 3.0


def test_nothing_is_lost_or_doubled_and_only_the_base_teaches(karma: Pipeline, compared: dict) -> None:
    assert_exact(f"sqlite:///{karma.home / 'karma.db'}", 4 * PROMPTS)


def test_labels_are_held_against_the_references(compared: dict) -> None:
    every = compared["streams"]["mine@all-pairs+0pairs"]
    assert (every["referenced"], every["label_error"]) == (2 * PROMPTS, 0.5)


def test_the_same_command_again_adds_nothing_and_compares_again(karma: Pipeline, compared: dict) -> None:
    again = rematch(karma, "--policy", "random", "--policy", "best-vs-worst", "--policy", "all-pairs", "--pairs", "0")
    for name, figures in again["streams"].items():
        assert (figures["added"], figures["present"]) == (0, PROMPTS)
        same = ("prompts", "pairs", "judge_calls", "decisive", "information", "label_error")
        assert {key: figures.get(key) for key in same} == {key: compared["streams"][name].get(key) for key in same}


def test_the_comparison_for_people_names_streams_and_figures(karma: Pipeline, compared: dict) -> None:
    done = karma.call("rematch", "mine", "--policy", "all-pairs", "--pairs", "0", "--no-wait")
    assert "mine@all-pairs+0pairs" in done.stdout
    assert "decisive pairs per judge call" in done.stdout
    assert "0 prompts added, 60 already present" in done.stderr


def test_an_unknown_policy_is_bad_input(karma: Pipeline) -> None:
    done = karma.call("rematch", "mine", "--policy", "kinn", check=False)
    assert done.returncode == 2
    assert done.stderr == "karma: no policy is called 'kinn' (did you mean 'kin'?)\n"


def test_a_stream_without_prompts_is_an_error_that_names_those_with_some(karma: Pipeline) -> None:
    done = karma.call("rematch", "yours", "--policy", "kin", check=False)
    assert done.returncode == 2
    assert "'yours' holds no prompt; known streams: mine" in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_can_enqueue_to_a_derived_stream(karma: Pipeline) -> None:
    done = karma.call("enqueue", "-", "--stream", "mine@random", text='{"prompt": "x"}\n', check=False)
    assert done.returncode == 2
    assert "names with an @" in done.stderr


def test_a_pair_is_explained_in_plain_text_and_as_data(karma: Pipeline, compared: dict) -> None:
    exported = [json.loads(line) for line in karma.call("export", "jsonl", "-").stdout.splitlines()]
    hostile = next(row for row in exported if "script" in row["chosen"])
    told = karma.call("explain", hostile["id"]).stdout
    assert f"Pair {hostile['karma']['pair']}: prompt" in told
    assert r"<script>alert('\x1b[31m')</script>" in told
    assert "\x1b" not in told
    facts = json.loads(karma.call("explain", str(hostile["karma"]["pair"]), "--json").stdout)
    assert facts["resolution"]["outcome"] == "decisive"


@pytest.mark.parametrize(("pair", "code", "said"), [("999999", 1, "has no pair 999999"), ("x", 2, "no pair's number")])
def test_a_pair_that_is_not_there_is_an_error(karma: Pipeline, pair: str, code: int, said: str) -> None:
    done = karma.call("explain", pair, check=False)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_models_are_shown_with_intervals_kin_and_trend(karma: Pipeline) -> None:
    learned = json.loads(karma.call("models", "--json").stdout)
    assert set(learned["models"]) >= {"a", "b", "c"}
    overall = learned["models"]["a"]["overall"]
    assert overall["low"] < overall["mean"] < overall["high"]
    shown = karma.call("models", "--skill", "talk").stdout
    assert "talk" in shown
    assert "nearest kin" in shown
    assert karma.call("models", "--skill", "tallk", check=False).returncode == 2


def test_the_report_holds_a_hostile_model_as_data(karma: Pipeline, compared: dict, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert karma.call("report", str(out)).stdout.strip() == str(out)
    page = out.read_text()
    assert EVIL not in page
    assert "mine@all-pairs+0pairs" in page
