"""`karma down` ends the supervisor of its home, and never a process that merely got its number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from karma.errors import KarmaError
from karma_cli.local import pid_file
from karma_cli.local.pid_file import PidFile, running_pid

#: Only the module itself is run: importing the whole command would take a second.
_HOLD = "import runpy, sys; from pathlib import Path; PidFile = runpy.run_path(sys.argv[2])['PidFile']; "
_HOLD += "held = PidFile(Path(sys.argv[1])); held.hold(); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that supervises the home."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _HOLD, str(tmp_path), pid_file.__file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_home_that_nobody_supervises_has_no_pid(tmp_path: Path) -> None:
    assert running_pid(tmp_path) is None


@pytest.mark.parametrize("content", [str(os.getppid()), "", "no number"])
def test_a_file_that_was_left_behind_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "supervisor.pid").write_text(content)
    assert running_pid(tmp_path) is None
    held = PidFile(tmp_path)
    held.hold()
    assert (tmp_path / "run" / "supervisor.pid").read_text() == str(os.getpid())
    held.release()
    assert not (tmp_path / "run" / "supervisor.pid").exists()


def test_the_one_that_holds_it_is_found_and_no_other_gets_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert running_pid(tmp_path) == holder.pid
    with pytest.raises(KarmaError, match=rf"is already running in .* \(pid {holder.pid}\)"):
        PidFile(tmp_path).hold()
    assert running_pid(tmp_path) == holder.pid


def test_one_that_was_killed_holds_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=10)
    assert running_pid(tmp_path) is None
    mine = PidFile(tmp_path)
    mine.hold()
    mine.release()
