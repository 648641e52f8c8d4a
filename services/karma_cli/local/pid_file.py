"""Which process supervises a `KARMA_HOME`: the one that holds the lock on its pid file.

A pid alone would not do: where a supervisor was killed, its number soon belongs to somebody else.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import TextIO

from karma.errors import KarmaError

#: A lock that is only looked at is gone in a moment.
_LOOKED_AT_S = 0.5


class PidFile:
    """The pid file of a `KARMA_HOME`; held from `hold` until `release`, or until the process ends, however it ends."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file: TextIO | None = None

    def hold(self) -> None:
        """Write this process' id, unless another process supervises the same home.

        Raises:
            KarmaError: one does.
        """
        path = _path(self._home)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
        deadline = time.monotonic() + _LOOKED_AT_S
        while not _locked(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                file.seek(0)
                other = file.read().strip() or "?"
                file.close()
                raise KarmaError(f"`karma up` runs already in {self._home} (pid {other}); stop it with `karma down`")
            time.sleep(0.02)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Remove it; harmless where it is not held."""
        if self._file is not None:
            _path(self._home).unlink(missing_ok=True)
            self._file.close()
            self._file = None


def running_pid(home: Path) -> int | None:
    """The process id of the supervisor of a `KARMA_HOME`, if one runs."""
    try:
        with _path(home).open(encoding="ascii") as file:
            return None if _locked(file, fcntl.LOCK_SH) else int(file.read())
    except (OSError, ValueError):
        return None


def _locked(file: TextIO, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _path(home: Path) -> Path:
    return home / "run" / "supervisor.pid"
