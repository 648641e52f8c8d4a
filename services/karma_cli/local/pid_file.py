"""The pid file of a `KARMA_HOME`: the process that holds the lock on it is the home's supervisor.

The pid alone would not do: after a supervisor was killed, another process may get its number.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import TextIO

from karma.errors import KarmaError

#: `running_pid` locks the file for a moment; `hold` waits that long for it.
_LOCK_WAIT_S = 0.5


class PidFile:
    """The pid file of a `KARMA_HOME`; held from `hold` until `release`, or until the process ends, however it ends."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file: TextIO | None = None

    def hold(self) -> None:
        """Write this process's id.

        Raises:
            KarmaError: another process supervises the same home.
        """
        path = _path(self._home)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
        deadline = time.monotonic() + _LOCK_WAIT_S
        while not _locked(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                file.seek(0)
                other = file.read().strip() or "?"
                file.close()
                raise already_running(self._home, other)
            time.sleep(0.02)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Remove the file; harmless where it is not held."""
        if self._file is not None:
            _path(self._home).unlink(missing_ok=True)
            self._file.close()
            self._file = None


def running_pid(home: Path) -> int | None:
    """The process id of the supervisor of a `KARMA_HOME`; None where none is running."""
    try:
        with _path(home).open(encoding="ascii") as file:
            return None if _locked(file, fcntl.LOCK_SH) else int(file.read())
    except (OSError, ValueError):
        return None


def already_running(home: Path, pid: int | str) -> KarmaError:
    """The error of a second `karma up` on the same home."""
    return KarmaError(f"`karma up` is already running in {home} (pid {pid}); stop it with `karma down`")


def _locked(file: TextIO, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _path(home: Path) -> Path:
    return home / "run" / "supervisor.pid"
