"""`karma enqueue --wait`: says at once that no worker runs, and at the end what the prompts came to."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from karma.config.environment import Environment
from tests.support.databases import migrate
from tests.support.endpoint import pool, serve
from tests.support.instant import POOL
from tests.support.pipeline import KARMA, Pipeline, wait_until

FAILING = """
[models.a]
backend = "openai"
model = "a"
base_url = "http://127.0.0.1:9/v1"
max_retries = 0
[models.b]
backend = "instant"
model = "b"
[judges.j]
kind = "instant"
"""


SLOW = """
[models.a]
backend = "openai"
model = "a"
base_url = "http://127.0.0.1:9/v1"
max_retries = 1000
[models.b]
backend = "instant"
model = "b"
[judges.j]
kind = "instant"
"""


def test_without_a_worker_it_says_so_and_waits(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, POOL, "tests.support.instant")
    command = [*KARMA, "enqueue", "-", "--wait"]
    waiting = subprocess.Popen(command, env=karma.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert waiting.stderr is not None
    assert waiting.stdin is not None
    assert waiting.stderr.readline().startswith("no worker runs; start karma up")  # before it reads a line
    waiting.stdin.close()
    assert "holds no prompt" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGTERM)
    waiting.wait(30)


def test_prompts_that_failed_are_summed_up_and_exit_1(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, FAILING, "tests.support.instant")
    with karma.up():
        done = karma.run("enqueue", "-", "--wait", text='{"prompt": "x"}\n{"prompt": "y"}\n', check=False)
        assert done.returncode == 1
        assert "no worker" not in done.stderr
        assert "2 prompts finished meanwhile: 2 without a pair" in done.stderr
        assert "2 calls of the model a failed: connection dropped" in done.stderr
        (reason,) = json.loads(karma.run("failures", "--json").stdout)["reasons"]
        assert (reason["of"], reason["name"], reason["count"]) == ("model", "a", 2)
        assert "is the endpoint running" in reason["help"]
        assert karma.status()["reasons"] == [reason]
        again = karma.run("enqueue", "-", "--wait", text='{"prompt": "x"}\n', check=False)
        assert again.returncode == 0  # nothing was done for it
        assert "2 prompts finished before: 2 without a pair" in again.stderr


def test_prompts_that_came_to_something_exit_0(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, POOL, "tests.support.instant")
    with karma.up():
        done = karma.run("enqueue", "-", "--wait", "--json", text='{"prompt": "x"}\n')
    finished = json.loads(done.stdout)["finished"]
    assert (finished["prompts"], finished["decisive"], finished["reasons"]) == (1, 1, [])


def test_workers_that_end_during_the_wait_are_missed_within_seconds(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, SLOW, "tests.support.instant")
    with karma.up():
        command = [*KARMA, "enqueue", "-", "--wait"]
        waiting = subprocess.Popen(
            command, env=karma.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert waiting.stdin is not None
        assert waiting.stderr is not None
        waiting.stdin.write('{"prompt": "x"}\n')
        waiting.stdin.close()
        wait_until(lambda: sum(karma.status()["prompts"].values()) == 1, 30, "the prompt is accepted")
        karma.run("down")
        assert waiting.stderr.readline().startswith("no worker runs; start karma up")
        waiting.send_signal(signal.SIGTERM)
        waiting.wait(30)


def test_the_summary_has_calls_tokens_and_the_cost(tmp_path: Path) -> None:
    with serve() as endpoint:
        text = pool(endpoint.url).replace('model = "red"', 'model = "red"\nprice = {input = 1000.0, output = 1000.0}')
        karma = Pipeline(tmp_path, text)
        with karma.up():
            done = karma.run("enqueue", "-", "--wait", text='{"prompt": "x y"}\n')
            both = karma.run("enqueue", "-", "--wait", "--json", text='{"prompt": "z"}\n')
    lines = done.stderr.splitlines()
    assert "labels: 1 judged, 0 predicted" in lines
    assert lines[-1].startswith("calls: 2 of models, 2 of judges; tokens: ")
    assert lines[-1].endswith(", without 3 calls of unknown cost")
    assert "; cost: $0.01" in lines[-1]
    finished = json.loads(both.stdout)["finished"]
    assert (finished["model_calls"], finished["judge_calls"], finished["calls_without_cost"]) == (2, 2, 3)
    assert finished["cost_usd"] > 0


@pytest.mark.parametrize(
    "command", [["requeue", "--stream"], ["failures"], ["report", "out.html", "--stream"]], ids=" ".join
)
def test_an_unknown_stream_is_refused_with_the_nearest(tmp_path: Path, command: list[str]) -> None:
    karma = Pipeline(tmp_path, POOL, "tests.support.instant")
    karma.enqueue([{"prompt": "x"}], "--stream", "maths")
    done = karma.call(*command, "math", check=False)
    assert (done.returncode, done.stderr) == (2, "karma: no stream is called 'math' (did you mean 'maths'?)\n")


def test_status_needs_no_pool_file_unless_one_is_named(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, POOL, "tests.support.instant")
    karma.enqueue([{"prompt": "x"}])
    karma.pool_path.unlink()
    assert json.loads(karma.call("status", "--json").stdout)["prompts"]["accepted"] == 1
    done = karma.call("status", "--pool", str(karma.pool_path), check=False)
    assert (done.returncode, "no such file" in done.stderr) == (2, True)


@pytest.mark.ci
def test_a_worker_that_starts_before_the_first_gateway_waits_and_says_so_once(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, POOL, "tests.support.instant")
    with karma.up():  # for its Redis
        url = Environment.read({"KARMA_HOME": str(tmp_path)}).broker_url()
        environment = {
            **karma.environment,
            "KARMA_REDIS_URL": url,
            "KARMA_DATABASE_URL": f"sqlite:///{tmp_path}/new.db",
        }
        worker = subprocess.Popen([*KARMA, "worker", "scoring"], env=environment, stderr=subprocess.PIPE, text=True)
        assert worker.stderr is not None
        lines = [worker.stderr.readline()]
        migrate(environment["KARMA_DATABASE_URL"])
        while "is ready" not in lines[-1]:
            lines.append(worker.stderr.readline())
            assert lines[-1], "".join(lines)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=30)
    assert "waiting for the store's schema: the store" in lines[0]
    assert "retrying until it works" in lines[0]
    waits = [line for line in lines if "waiting for the store's schema" in line]
    assert len(waits) == 2
    assert "recovered after" in waits[1]
