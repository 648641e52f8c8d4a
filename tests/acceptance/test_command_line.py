"""`karma` as a user meets it: exit codes, exact sentences, and no traceback for a user's mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import to_bytes
from karma.store import Store
from tests.support import needs
from tests.support.instant import POOL
from tests.support.pipeline import KARMA, Pipeline, wait_until
from tests.support.redis_server import Redis
from tests.support.terminal import ALTERNATE_SCREEN, USUAL_SCREEN, terminal


@pytest.fixture
def karma(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path / "home", POOL, plugins="tests.support.instant")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    made = Pipeline(tmp_path_factory.mktemp("cli"), POOL, plugins="tests.support.instant")
    with made.up():
        yield made


def schema() -> dict:
    return json.loads((files("karma_monitor") / "status.schema.json").read_text())


def test_bad_lines_are_refused_by_file_line_and_reason_and_the_others_accepted(karma: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(
        b'{"prompt": "one", "id": "1"}\n{"prompt": \n{"prompt": ""}\n{"prompt": "x", "refrence": "red"}\n\n'
        b'{"prompt": "\xff"}\n{"prompt": "other", "id": "1"}\n{"prompt": "'
        + b"a" * (1 << 20)
        + b'"}\n{"prompt": "two"}\n'
    )
    done = karma.run("enqueue", str(path), check=False)
    assert done.returncode == 1
    refusals = [line for line in done.stderr.splitlines() if line.startswith("×")]
    assert [line.split(f"{path}:")[1].split(": ")[0] for line in refusals] == ["2", "3", "4", "6", "7", "8"]
    for line, reason in zip(
        refusals,
        (
            "not JSON",
            "`prompt` is empty",
            "unknown field 'refrence'",
            "not UTF-8",
            "exists in stream",
            "more than the limit",
        ),
        strict=True,
    ):
        assert reason in line
    assert "2 accepted, 0 already present, 6 refused" in done.stderr
    assert karma.status()["prompts"]["accepted"] == 2


def test_strict_accepts_nothing_if_anything_is_wrong(karma: Pipeline) -> None:
    done = karma.run("enqueue", "-", "--strict", text='{"prompt": "a"}\n{"prompt": ""}\n', check=False)
    assert done.returncode == 2
    assert "<stdin>:2: `prompt` is empty" in done.stderr
    assert "nothing was accepted: 1 of 2 lines are wrong" in done.stderr
    assert karma.status()["prompts"]["accepted"] == 0


def enqueued(karma: Pipeline, prompts: list[dict], *options: str) -> dict:
    """What `karma enqueue --json`, a process of its own, says; without the forms."""
    lines = "".join(json.dumps(prompt) + "\n" for prompt in prompts)
    said = json.loads(karma.run("enqueue", "-", "--json", *options, text=lines).stdout)
    assert sum(form["prompts"] for form in said.pop("forms")) == len(prompts)
    return said


def test_the_same_file_twice_adds_nothing(karma: Pipeline) -> None:
    """With `--strict`, which takes what is good, as without."""
    prompts = [{"prompt": "a"}, {"prompt": "b", "id": "b"}]
    said = {"version": 1, "stream": "default", "refused": 0, "goal": "label", "pairs_so_far": None}
    said["duplicates"] = {"skipped": 0, "kept": 0}
    assert enqueued(karma, prompts) == {**said, "accepted": 2, "present": 0}
    more = [*prompts, {"prompt": "c"}]
    assert enqueued(karma, more, "--strict") == {**said, "accepted": 1, "present": 2}


def test_an_empty_file_warns_and_exits_0(karma: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    done = karma.run("enqueue", str(tmp_path / "empty.jsonl"))
    assert "holds no prompt" in done.stderr


def test_a_missing_file_is_one_sentence(karma: Pipeline) -> None:
    done = karma.run("enqueue", "/nowhere/p.jsonl", check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == "karma: /nowhere/p.jsonl: cannot be read: No such file or directory"


def test_a_broken_pool_file_is_one_sentence(karma: Pipeline) -> None:
    karma.pool_path.write_text(POOL.replace('model = "b"', 'modell = "b"'))
    done = karma.run("up", check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == f"karma: {karma.pool_path}: [models.b] lacks the key model"


def test_a_taken_port_is_one_sentence(karma: Pipeline) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = karma.run("up", "--redis-port", str(port), check=False)
    assert done.returncode == 1
    assert f"port {port} is taken; choose another with --redis-port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_that_cannot_start_is_named_with_its_log(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path / "home", POOL, plugins="tests.support.instant")
    karma.environment["KARMA_LOG_LEVEL"] = "NONSENSE"
    done = karma.run("up", check=False)
    assert done.returncode != 0
    assert "ended with exit code" in done.stderr
    assert "log:" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_service_names_the_known_ones(karma: Pipeline) -> None:
    done = karma.run("worker", "painting", check=False)
    assert done.returncode == 2
    assert "expected one of gateway, generation, scoring, matching, judging" in done.stderr


def test_a_wrong_choice_names_the_known_ones(karma: Pipeline) -> None:
    done = karma.run("requeue", "faled", check=False)
    assert done.returncode == 2
    assert "'faled' is not one of 'dead', 'failed'" in done.stderr
    assert "Value error" not in done.stderr


def test_a_report_is_not_written_to_a_file_called_dash(karma: Pipeline) -> None:
    done = karma.run("report", "-", check=False)
    assert (done.returncode, done.stderr) == (2, "karma: a report is a file: name one, such as report.html\n")


def test_a_worker_without_redis_says_what_to_start(karma: Pipeline) -> None:
    done = karma.run("worker", "scoring", check=False)
    assert done.returncode == 2
    assert "Start one with `karma up`, or set KARMA_REDIS_URL" in done.stderr


def test_status_of_an_empty_store_follows_the_schema(karma: Pipeline) -> None:
    jsonschema.validate(json.loads(karma.run("status", "--json").stdout), schema())


def test_status_of_a_run_follows_the_schema_and_counts_it(running: Pipeline) -> None:
    before = running.status()["prompts"]["done"]
    running.enqueue([{"prompt": f"status {n}"} for n in range(40)])
    running.wait_for_end(before + 40)
    status = json.loads(running.run("status", "--json").stdout)
    jsonschema.validate(status, schema())
    assert {worker["service"] for worker in status["workers"]} == {
        "gateway", "generation", "scoring", "matching", "judging",
    }  # fmt: skip


def test_a_second_up_on_the_same_home_is_refused(running: Pipeline) -> None:
    done = running.run("up", check=False)
    assert done.returncode == 1
    assert "is already running" in done.stderr


def test_a_killed_worker_is_started_again_and_said_so(running: Pipeline) -> None:
    from karma.queue.heartbeats import workers
    from karma.queue.redis import connect

    redis = connect((running.home / "run" / "redis.url").read_text())
    (matching,) = [info for info in workers(redis) if info.service == "matching" and info.state == "ready"]
    os.kill(matching.pid, signal.SIGKILL)
    wait_until(
        lambda: [i for i in workers(redis) if i.service == "matching" and i.pid != matching.pid and i.state == "ready"],
        30,
        "another matching worker shows life",
    )
    assert "the worker matching ended with exit code -9" in (running.home / "logs" / "supervisor.log").read_text()
    before = sum(running.status()["prompts"].values())
    running.enqueue([{"prompt": f"after {n}"} for n in range(20)])
    assert running.wait_for_end(before + 20)["prompts"]["dead"] == 0


def test_a_supervisor_that_is_killed_while_its_workers_start_leaves_none_of_them(karma: Pipeline) -> None:
    needs.linux()
    redis = Redis(karma.home / "redis")
    karma.environment["KARMA_REDIS_URL"] = redis.start()
    try:
        supervisor = subprocess.Popen([*KARMA, "up"], env=karma.environment, stderr=subprocess.DEVNULL)
        wait_until(lambda: len(workers_in(karma.home)) >= 5, 30, "the workers start")
        supervisor.kill()
        supervisor.wait(10)
        assert workers_in(karma.home), "they were to be killed in mid-start"
        wait_until(lambda: not workers_in(karma.home), 60, "all workers end")
    finally:
        redis.kill()


def workers_in(home: Path) -> list[int]:
    """Processes of workers whose `KARMA_HOME` is this one, and the template that they are forked from."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and f"KARMA_HOME={home}\0".encode() in (folder / "environ").read_bytes():
                command = (folder / "cmdline").read_bytes().split(b"\0")
                if {b"karma.run", b"karma.worker.template"} & {*command}:
                    found.append(int(folder.name))
    return found


def test_models_and_export_print_data_on_stdout_only(running: Pipeline, tmp_path: Path) -> None:
    before = sum(running.status()["prompts"].values())
    running.enqueue([{"prompt": f"export {n}"} for n in range(20)])
    running.wait_for_end(before + 20)
    wait_until(lambda: json.loads(running.call("models", "--json").stdout)["models"], 20, "competencies were learned")
    assert json.loads(running.run("models", "--json").stdout)["models"]
    out = tmp_path / "out.jsonl"
    done = running.run("export", "trl-dpo", str(out))
    assert done.stdout.strip() == str(out)
    assert len(out.read_text().splitlines()) == running.status()["preferences"]["judge"]


def test_a_result_is_columns_in_a_pipe_and_bare_where_it_is_to_be_quiet(running: Pipeline, tmp_path: Path) -> None:
    piped = running.run("status").stdout
    assert "workers" in piped
    assert not set("─│┃━\x1b") & set(piped)
    assert running.run("status", "-q").stdout == "0\n"
    out = tmp_path / "out.jsonl"
    done = running.run("export", "jsonl", str(out), "--quiet")
    assert (done.stdout, done.stderr) == (f"{out}\n", "")


def test_progress_is_on_the_terminal_and_data_on_the_pipe(karma: Pipeline, tmp_path: Path) -> None:
    source, out = tmp_path / "prompts.jsonl", tmp_path / "out.json"
    source.write_text("".join(json.dumps({"prompt": f"progress {n}"}) + "\n" for n in range(1200)))
    surroundings = {**karma.environment, "NO_COLOR": "1"}
    with (
        out.open("wb") as file,
        terminal([*KARMA, "enqueue", str(source), "--json"], surroundings, stdout=file.fileno()) as seen,
    ):
        seen.wait_for("1,200/1,200")
        assert seen.process.wait(60) == 0
    assert "rows read" in seen.text()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", seen.raw), "NO_COLOR asks for no colour"
    assert json.loads(out.read_text())["accepted"] == 1200


def test_watch_is_live_on_a_terminal_and_leaves_it_as_it_was(running: Pipeline) -> None:
    running.enqueue([{"prompt": "before anybody watches"}])
    with terminal([*KARMA, "watch", "--every", "0.2"], running.environment) as seen:
        seen.wait_for("yield")
        wait_until(lambda: running.call("status", "-q").stdout.strip() == "0", 60, "all have ended")
        assert not seen.shows_keys()
        (before,) = {int(count) for count in re.findall(r"(\d+) preferences(?! per)", seen.text())}
        running.enqueue([{"prompt": f"watch {n}"} for n in range(30)])
        seen.wait_for(f"{before + 30} preferences")
        seen.press("p")
        seen.wait_for("FROZEN: this data is")
        seen.press(" ")
        since = len(seen.raw)
        seen.resize(60, 10)
        seen.wait_for("more lines; enlarge the window", since)
        seen.press("q")
        assert seen.process.wait(60) == 0
        assert seen.shows_keys()
    assert seen.raw.startswith(ALTERNATE_SCREEN)
    assert seen.raw.rstrip().endswith(USUAL_SCREEN)


def test_models_keeps_every_number_on_a_terminal_of_80_columns(karma: Pipeline) -> None:
    rng = np.random.default_rng(0)
    names, skills = (
        [f"organization/model-{n:02d}-instruct-{n:02d}" for n in range(30)],
        [f"skill-{n}" for n in range(6)],
    )
    cold = Snapshot.empty(names, skills, deviation=0.5)
    mean = rng.normal(0.0, 4.0, cold.mean.shape)
    store = Store(f"sqlite:///{karma.home / 'karma.db'}")
    store.migrate()
    with store.transaction() as transaction:
        for version in (1, 2):
            moved = replace(cold, version=version, mean=mean + 0.1 * version)
            assert transaction.preferences.add_snapshot(version, float(version), to_bytes(moved))
    store.close()
    with terminal([*KARMA, "models"], karma.environment, columns=80) as seen:
        assert seen.process.wait(60) == 0
        seen.wait_for("skill-5")
    rows = seen.text().replace("\r", "").splitlines()
    assert max(map(len, rows)) <= 80
    assert len(re.findall(r"[+-]\d+\.\d ± 0\.8\b", seen.text())) == 30 * (1 + 6)


def test_watch_prints_one_json_object_per_line_until_it_is_stopped(running: Pipeline) -> None:
    command = [*KARMA, "watch", "--json", "--every", "0.2"]
    watching = subprocess.Popen(command, env=running.environment, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    first, second = (json.loads(watching.stdout.readline()) for _line in range(2))
    watching.terminate()
    rest = watching.stdout.read()
    assert watching.wait(30) == 0
    assert not rest or rest.endswith("\n")
    assert first["version"] == second["version"] == 1
    assert first["away"] is None
    assert second["at"] > first["at"]
    assert second["outcome"]["preferences"] == sum(running.status()["preferences"].values())
