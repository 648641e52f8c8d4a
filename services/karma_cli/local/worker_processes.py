"""Starts the worker processes of `karma up`: forked from a template where that works, else as new interpreters."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO, Protocol

from karma.worker.template import REQUEST_BYTES

log = logging.getLogger(__name__)

_ANSWER_S = 60.0  # the template imports first, maybe on a slow disk
_POLL_S = 0.02
_PR_SET_CHILD_SUBREAPER = 36  # of <sys/prctl.h>


class Process(Protocol):
    """A running worker, as `subprocess.Popen` describes it."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    def poll(self) -> int | None:
        """Its exit code, negative where a signal ended it; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        ...

    def send_signal(self, number: int, /) -> None:
        """Send it a signal, if it runs."""
        ...

    def kill(self) -> None:
        """Kill it."""
        ...


class ForkedProcess:
    """A child of this process that it did not start itself."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout or 0.0)
            time.sleep(_POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


class WorkerProcesses:
    """Starts workers of some services.

    Args:
        services: what the template imports.
        variables: its environment, which must hold no secret.
        log_file: gets what it prints.
    """

    def __init__(self, services: Sequence[str], variables: Mapping[str, str], log_file: IO[bytes]) -> None:
        self._requests: socket.socket | None = None
        self._template: subprocess.Popen[bytes] | None = None
        if not _inherits_orphans():
            return
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests.settimeout(_ANSWER_S)
        with theirs:
            self._template = subprocess.Popen(
                [sys.executable, "-P", "-m", "karma.worker.template", str(theirs.fileno()), *services],
                stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file, env=variables,
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip

    def start(self, arguments: Sequence[str], variables: Mapping[str, str], log_file: IO[bytes]) -> Process:
        """Start a worker.

        Args:
            arguments: of `karma.run`.
            variables: its environment.
            log_file: gets what it prints.
        """
        if self._requests is not None:
            try:
                return self._fork(self._requests, arguments, variables, log_file)
            except OSError as cause:
                log.warning("no worker can be forked (%s); workers start as new processes", cause)
                self.close()
        return self.start_anew(arguments, variables, log_file)

    @staticmethod
    def start_anew(arguments: Sequence[str], variables: Mapping[str, str], log_file: IO[bytes]) -> Process:
        """Start a worker in an interpreter of its own, with the code that is installed now."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "karma.run", *arguments],  # -P: no module of the working folder
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            env=variables,
            start_new_session=True,  # Ctrl-C goes to the supervisor, which stops the workers in order
        )

    def close(self) -> None:
        """End the template; its workers live on. Harmless when called again."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._template is not None:
            self._template.kill()  # it has no work of its own
            self._template.wait()
            self._template = None

    @staticmethod
    def _fork(
        requests: socket.socket, arguments: Sequence[str], variables: Mapping[str, str], log_file: IO[bytes]
    ) -> ForkedProcess:
        environment = os.memfd_create("environment")
        try:
            with os.fdopen(os.dup(environment), "wb") as file:
                file.write(json.dumps(dict(variables)).encode())
            os.lseek(environment, 0, os.SEEK_SET)
            socket.send_fds(requests, [json.dumps(list(arguments)).encode()], [environment, log_file.fileno()])
        finally:
            os.close(environment)
        answer = requests.recv(REQUEST_BYTES)
        if not answer:
            raise ConnectionError("the template of the workers has ended")
        return ForkedProcess(int(answer))


def _inherits_orphans() -> bool:
    """Make this process the parent of its descendants whose own parent ends; False where the system cannot do it."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
