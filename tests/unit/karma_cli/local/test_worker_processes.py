"""Workers are forked from a template: with their own environment, log and exit code, as children of the supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from karma_cli.local.worker_processes import ForkedProcess, WorkerProcesses
from tests.support.pipeline import wait_until

forked = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, where workers are forked; run it there")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[WorkerProcesses]:
    with (tmp_path / "template.log").open("wb") as log_file:
        made = WorkerProcesses([], {"PATH": os.environ["PATH"]}, log_file)
    yield made
    made.close()


def _started(processes: WorkerProcesses, log: Path, *arguments: str, **variables: str) -> object:
    with log.open("ab") as log_file:
        return processes.start(arguments, {"PATH": os.environ["PATH"], **variables}, log_file)


@forked
def test_a_worker_gets_its_arguments_environment_and_log(processes: WorkerProcesses, tmp_path: Path) -> None:
    for variables, said in (
        ({}, "no service is called 'nobody'"),
        ({"KARMA_TYPO": "1"}, "KARMA_TYPO is no setting"),
    ):
        log = tmp_path / "worker.log"
        worker = _started(processes, log, "nobody", KARMA_HOME=str(tmp_path), **variables)
        assert isinstance(worker, ForkedProcess)
        assert worker.wait(timeout=10) == 2
        assert said in log.read_text().splitlines()[-1]
    assert (tmp_path / "template.log").read_text() == ""


@forked
def test_a_worker_is_a_child_of_the_supervisor_and_outlives_the_template(
    processes: WorkerProcesses, tmp_path: Path
) -> None:
    """The store's address is a pipe that nobody writes to, so that the worker stays where it reads its settings."""
    secret = tmp_path / "secret"
    os.mkfifo(secret)
    variables = {"KARMA_HOME": str(tmp_path), "KARMA_DATABASE_PASSWORD_FILE": str(secret)}
    worker = _started(processes, tmp_path / "worker.log", "scoring", **variables)
    assert isinstance(worker, ForkedProcess)
    status = Path(f"/proc/{worker.pid}/status")
    wait_until(lambda: "Name:\tkarma scoring" in status.read_text(), 10, "the worker has its name")
    assert f"PPid:\t{os.getpid()}\n" in status.read_text()
    assert b"KARMA_" not in Path(f"/proc/{worker.pid}/environ").read_bytes()
    processes.close()
    assert worker.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(timeout=0.0)
    worker.kill()
    assert worker.wait(timeout=10) == -signal.SIGKILL
    worker.send_signal(signal.SIGTERM)  # harmless: it has ended


@forked
def test_without_a_template_a_worker_is_a_new_interpreter(processes: WorkerProcesses, tmp_path: Path) -> None:
    assert processes._template is not None
    processes._template.kill()
    processes._template.wait()
    worker = _started(processes, tmp_path / "worker.log", "nobody", PYTHONPATH=os.pathsep.join(sys.path))
    assert isinstance(worker, subprocess.Popen)
    assert worker.wait(timeout=20) == 2
    assert "no service is called 'nobody'" in (tmp_path / "worker.log").read_text()


@forked
def test_the_template_ends_with_its_supervisor(tmp_path: Path) -> None:
    program = (
        "import os; from karma_cli.local.worker_processes import WorkerProcesses\n"
        "made = WorkerProcesses([], dict(os.environ), open(os.devnull, 'wb'))\n"
        "print(made._template.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    wait_until(lambda: not _runs(pid), 10, "the template has ended")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
