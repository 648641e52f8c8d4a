"""`karma judge`: answers that exist already become preferences, by one command, and a killed one goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from karma.config.pool import Pool
from karma_cli.commands.judge.judging_pool import judging_pool
from tests.support import needs
from tests.support.endpoint import pool, serve
from tests.support.pipeline import KARMA, Pipeline, wait_until

LINES = [
    {"prompt": f"What is {n} + {n}?", "reference": str(2 * n), "responses": {"a": str(2 * n), "b": str(n)}}
    for n in range(1, 7)
]
BY_REFERENCE = """
[models.far]
backend = "transformers"
model = "nosuch/model"
[models.gone]
backend = "openai"
model = "x"
base_url = "http://127.0.0.1:9/v1"
[judges.reference]
kind = "verifier"
checker = "exact"
[streams.default]
goal = "rank"
"""


def written(tmp_path: Path, lines: list[dict] = LINES) -> str:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.fixture
def karma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    needs.redis()
    monkeypatch.setattr(tempfile, "tempdir", None)
    made = Pipeline(tmp_path / "usual", BY_REFERENCE)
    (tmp_path / "temporary").mkdir()
    made.environment["TMPDIR"] = str(tmp_path / "temporary")
    return made


def test_answers_become_preferences_and_nothing_else_is_left(karma: Pipeline, tmp_path: Path) -> None:
    """No model is called or loaded, the stream's goal does not matter, and a line that cannot be judged is named."""
    extra = [
        {"prompt": "no answer"},
        {"prompt": "one answer", "responses": {"a": "x"}},
        {"prompt": ""},
        {"prompt": "an empty answer", "responses": {"a": "x", "b": " "}},
    ]
    out = tmp_path / "preferences.jsonl"
    done = karma.run("judge", written(tmp_path, [*LINES, *extra]), str(out), check=False)
    assert (done.returncode, done.stdout) == (1, f"{out}\n")  # four lines were refused
    said = done.stderr.splitlines()
    assert said[0].endswith(":7: has no `responses`; expected two or more, such as "
                            '{"model-a": "text", "model-b": "text"}')  # fmt: skip
    assert "answers.jsonl:8: has one response" in said[1]
    assert "`prompt` is empty" in said[2]
    assert "answers.jsonl:10: has one response and 1 empty" in said[3]
    assert said[4:] == [
        "6 accepted, 0 already present, 4 refused",
        "6 prompts finished: 6 decisive",
        "labels: 6 judged, 0 predicted",
        "6 preferences",
    ]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(row["chosen"][0]["content"] for row in rows) == sorted(str(2 * n) for n in range(1, 7))
    assert os.listdir(tmp_path / "temporary") == []
    assert sorted(path.name for path in karma.home.iterdir()) == ["pool.toml"]


def test_a_reward_model_and_a_template_file_judge_and_explain_shows_by_what(karma: Pipeline, tmp_path: Path) -> None:
    """The command writes a pool file of its own, in another folder: the template goes with it."""
    from tests.integration.test_reward_model import llama

    llama(tmp_path / "reward")
    (tmp_path / "usual" / "own.jinja").write_text(
        "{{ fence }} RESPONSE A\n{{ first }}\n{{ fence }} RESPONSE B\n{{ second }}\n{{ fence }} END\n"
    )
    home, out = tmp_path / "home", tmp_path / "preferences.jsonl"
    with serve() as endpoint:
        model = f'backend = "openai"\nmodel = "judge-fair"\nbase_url = "{endpoint.url}"\n'
        karma.pool_path.write_text(
            f'[judges.own]\nkind = "openai"\ntemplate = "own.jinja"\n[judges.own.model]\n{model}'
            '[judges.reward]\nkind = "reward"\n'
            f'[judges.reward.model]\nbackend = "transformers"\nmodel = "{tmp_path / "reward"}"\n'
        )
        karma.run("judge", written(tmp_path, LINES[:2]), str(out), f"--home={home}")
    assert all(body["messages"][-1]["content"].endswith(" END") for body in endpoint.bodies)

    told = karma.run("explain", "1", f"--home={home}").stdout
    facts = json.loads(karma.run("explain", "1", f"--home={home}", "--json").stdout)

    assert re.search(r"reward \(a first\): .*\n +Rationale: score -?[\d.]+ against -?[\d.]+\n", told)
    (hashed,) = facts["templates"]
    assert f"  Template {hashed}: own.jinja." in told
    assert facts["templates"][hashed].startswith("{{ fence }} RESPONSE A")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["answers.jsonl", "out.txt"], "the name of the file must end with .jsonl or .parquet"),
        (["answers.jsonl", "no/out.jsonl"], "there is no folder no"),
        (["nowhere.jsonl", "out.jsonl"], "nowhere.jsonl: cannot be read"),
        (["answers.jsonl", "out.jsonl", "--as", "dpo"], "no exporter is called 'dpo' (did you mean 'trl-dpo'?)"),
        (["bare.jsonl", "out.jsonl"], "bare.jsonl holds no prompt with two responses"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_starts(
    karma: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    written(tmp_path)
    (tmp_path / "bare.jsonl").write_text('{"prompt": "x"}\n')
    monkeypatch.chdir(tmp_path)
    done = karma.run("judge", *arguments, check=False)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_a_judge_that_cannot_work_stops_it_at_once(karma: Pipeline, tmp_path: Path) -> None:
    dead = '[judges.d]\nkind = "openai"\n[judges.d.model]\nbackend = "openai"\nmodel = "m"\n'
    keyed = f'{dead}base_url = "http://127.0.0.1:9/v1"\napi_key_env = "KEY_NOT_SET"\n'
    karma.pool_path.write_text(keyed)
    done = karma.run("judge", written(tmp_path), str(tmp_path / "o.jsonl"), check=False)
    assert (done.returncode, done.stderr) == (
        2, "karma: the judge d needs a key: set the variable KEY_NOT_SET (api_key_env) here\n",
    )  # fmt: skip
    karma.pool_path.write_text(keyed.replace('api_key_env = "KEY_NOT_SET"', ""))
    done = karma.run("judge", written(tmp_path), str(tmp_path / "o.jsonl"), check=False)
    assert done.returncode == 1
    assert "karma: the judge d does not work: nothing listens at 127.0.0.1:9 (start the server" in done.stderr


def test_a_killed_run_goes_on_and_pays_for_nothing_twice(karma: Pipeline, tmp_path: Path) -> None:
    with serve() as endpoint:
        karma.pool_path.write_text(pool(endpoint.url))
        out, kept = tmp_path / "out.jsonl", tmp_path / "kept"
        command = [*KARMA, "judge", written(tmp_path), str(out), "--home", str(kept), "--no-check", "--json"]
        running = subprocess.Popen(command, env=karma.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # All calls are answered, so that none is open, and thus made again, when it is killed.
        wait_until(lambda: endpoint.calls["judge-fair"] == 12, 60, "the pairs are judged")
        running.send_signal(signal.SIGKILL)
        running.wait(30)
        again = subprocess.run(command, env=karma.environment, capture_output=True, text=True, check=True)
        said = json.loads(again.stdout)
        assert (said["accepted"], said["present"], said["preferences"]) == (0, 6, 6)
        assert endpoint.calls["judge-fair"] == 12  # both orders of each pair, once
        third = subprocess.run(command, env=karma.environment, capture_output=True, text=True, check=True)
        assert (json.loads(third.stdout)["preferences"], endpoint.calls["judge-fair"]) == (6, 12)


@pytest.mark.ci
def test_calls_that_failed_are_made_again_by_the_same_command(karma: Pipeline, tmp_path: Path) -> None:
    with serve() as endpoint:
        endpoint.behaviour.unparsable = 1.0
        karma.pool_path.write_text(pool(endpoint.url))
        out, kept = tmp_path / "out.jsonl", tmp_path / "kept"
        arguments = ["judge", written(tmp_path), str(out), "--home", str(kept), "--no-check"]
        done = karma.run(*arguments, check=False)
        assert done.returncode == 1
        assert "6 prompts finished: 6 unscored" in done.stderr
        assert "12 calls of the judge fair failed: unparsable verdict" in done.stderr
        assert f"no preference was found, so {out} is not written" in done.stderr
        assert not out.exists()
        endpoint.behaviour.unparsable = 0.0
        again = karma.run(*arguments)
    assert "6 prompts with failed calls are judged again" in again.stderr
    assert "6 preferences" in again.stderr


def test_the_pool_of_a_run_has_the_judges_alone_and_their_settings(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "pool.toml").write_text(
        '[models.a]\nbackend = "openai"\nmodel = "a"\nbase_url = "http://h/v1"\n'
        '[models.b]\nbackend = "openai"\nmodel = "b"\nbase_url = "http://h/v1"\n'
        '[stream]\ngoal = "train"\ntarget = "a"\norders = "one"\ntie_margin = 0.1\n[pipeline]\nwindow = 7\n'
        '[judges."odd.name"]\nkind = "transformers"\n[judges."odd.name".model]\nbackend = "transformers"\n'
        'model = "./weights"\nsystem = "say \\"A\\"\\nor B"\n'
    )
    named = Pool.read(tmp_path / "pool.toml")
    (tmp_path / "other").mkdir()
    made = tmp_path / "other" / "judge-pool.toml"
    made.write_text(judging_pool(named, 0, one_model=False))
    own = Pool.read(made)
    assert (own.models, own.judges, own.pipeline) == ({}, named.judges, named.pipeline)
    stream = own.stream("default")
    assert (stream.goal, stream.policy, stream.orders, stream.tie_margin) == ("label", "all-pairs", "one", 0.1)
    assert (stream.judge_share, stream.label_at) == (None, None)
    made.write_text(judging_pool(named, 1, one_model=True))
    assert Pool.read(made).stream("default").policy == "self"
