"""A terminal for a test: a process at a pseudo-terminal of some size, what it shows, and keys for it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.support import needs
from tests.support.pipeline import wait_until

#: Control sequences, as ECMA-48 has them.
_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
ALTERNATE_SCREEN, USUAL_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


class Terminal:
    """The user's side of a pseudo-terminal."""

    def __init__(self, master: int, slave: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self._slave = slave
        self.process = process
        self._read = b""
        self._reader = threading.Thread(target=self._follow, name="terminal", daemon=True)
        self._reader.start()

    @property
    def raw(self) -> str:
        """Everything that came so far, with its control sequences."""
        return self._read.decode(errors="replace")

    def text(self, since: int = 0) -> str:
        """What came after so many characters of `raw`, without control sequences."""
        return _CONTROL.sub("", self.raw[since:])

    def wait_for(self, said: str, since: int = 0, deadline_s: float = 120.0) -> None:
        try:
            wait_until(lambda: said in self.text(since), deadline_s, f"{said!r} is shown")
        except AssertionError as late:
            raise AssertionError(f"{late}; the end of what is: {self.text(since)[-4000:]!r}") from None

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size, of which the kernel tells the process."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def shows_keys(self) -> bool:
        """Whether the terminal echoes and waits for whole lines, as a shell expects to find it."""
        flags = termios.tcgetattr(self._slave)[3]
        return bool(flags & termios.ECHO and flags & termios.ICANON)

    def _follow(self) -> None:
        while True:
            try:
                piece = os.read(self._master, 1 << 16)
            except OSError:  # the process has gone
                return
            if not piece:
                return
            self._read += piece


@contextmanager
def terminal(
    command: Sequence[str],
    environment: Mapping[str, str],
    columns: int = 100,
    lines: int = 40,
    **streams: int,
) -> Iterator[Terminal]:
    """A process whose standard streams are a terminal but for those that are given. It is killed at the end."""
    master, slave = needs.terminal()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    hidden = ("COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE")
    surroundings = {name: value for name, value in environment.items() if name not in hidden}
    process = subprocess.Popen(
        list(command),
        env={"TERM": "xterm-256color", **surroundings},
        start_new_session=True,
        **{"stdin": slave, "stdout": slave, "stderr": slave, **streams},
    )
    seen = Terminal(master, slave, process)
    try:
        yield seen
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(20)
        os.close(slave)
        seen._reader.join(10)
        os.close(master)
