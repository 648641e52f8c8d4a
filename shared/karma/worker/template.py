"""`python -m karma.worker.template`: a process that imports the workers' packages once, and forks workers.

`karma up` starts one. A forked worker is ready in a fifth of the time of one that starts Python anew, and shares the
memory of all that was imported. The template has one thread, reads no settings, and opens nothing: it holds no secret,
and no connection that a worker could inherit. A worker's environment goes from the supervisor to the worker itself, in
a file that the template passes on unread.

Every worker is forked twice, so that its parent is not the template but the supervisor, which made itself the one that
inherits orphans (`PR_SET_CHILD_SUBREAPER`, Linux). So it waits for a worker as for any other child, and workers live on
when the template dies.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import active_count

from karma.errors import KarmaError
from karma.imports import collection_paused
from karma.telemetry.escaping import escape_control
from karma.worker import run

#: The most bytes of a request: the arguments of one worker.
REQUEST_BYTES = 1 << 16

#: What a process imports of each service until it is ready, and with its first call.
_IMPORTED = {
    "gateway": ("karma_gateway.worker", "karma_monitor.prometheus"),
    "scoring": ("karma_scoring.worker",),
    "matching": ("karma_matching.worker",),
    "generation": ("karma_generation.worker", "aiohttp"),
    "judging": ("karma_judging.worker", "aiohttp"),
    "page": ("karma_monitor.page.server", "karma_scoring.withdrawal", "uvicorn.lifespan.on"),
}
#: What Celery imports by name when its worker starts.
_CONSUMER = (
    "karma.queue.guarded_transport",
    "celery.apps.worker",
    "celery.app.amqp",
    "celery.app.log",
    "celery.concurrency.solo",
    "celery.concurrency.thread",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.control",
    "celery.worker.loops",
    "celery.worker.strategy",
    "encodings.idna",
)


@dataclass(frozen=True)
class Request:
    """A worker to become: the arguments of `karma.run`, its environment as a file with JSON, and its log."""

    arguments: tuple[str, ...]
    environment: int  # file descriptors
    log: int


def main() -> None:
    """The command line: the file descriptor of the supervisor's socket, and the services to import."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    preload(sys.argv[2:])
    request = serve(requests)
    if request is not None:  # this is a worker
        become(request)
        run.main()


def preload(services: Iterable[str]) -> None:
    """Import what workers of these services need. A worker reports what is missing itself."""
    with collection_paused():
        for module in (*(name for service in services for name in _IMPORTED[service]), *_CONSUMER):
            with suppress(ImportError):
                import_module(module)
    gc.freeze()  # a collection would write to every object, and so copy the shared memory


def serve(requests: socket.socket) -> Request | None:
    """Fork a worker for each request, and answer with its process id, until the supervisor is gone.

    Returns:
        The request, in a worker; None in the template, at its end.
    """
    if active_count() > 1:
        raise KarmaError("the template of the workers has several threads; it cannot fork")
    while True:
        message, files, _flags, _address = socket.recv_fds(requests, REQUEST_BYTES, 2)
        if not message:
            return None
        request = Request(tuple(json.loads(message)), *files)
        pid = _fork_orphan()
        if pid == 0:
            requests.close()
            return request
        for file in files:
            os.close(file)
        requests.send(str(pid).encode())


def _fork_orphan() -> int:
    """Fork a process whose parent has ended; returns its id, and 0 in the process itself."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            os.write(writing, str(pid).encode())
            os._exit(0)
        os.close(reading)
        os.close(writing)
        while os.getppid() == parent:
            time.sleep(0.001)
        return 0
    os.close(writing)
    os.waitpid(between, 0)
    pid = int(os.read(reading, 100))
    os.close(reading)
    return pid


def become(request: Request) -> None:
    """Turn this process into the worker: session, log, environment, arguments and name."""
    os.setsid()  # Ctrl-C goes to the supervisor, which stops the workers in order
    for stream in (1, 2):
        os.dup2(request.log, stream)
    os.close(request.log)
    with os.fdopen(request.environment, "rb") as file:
        variables: dict[str, str] = json.loads(file.read())
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    sys.argv[1:] = request.arguments
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"karma {request.arguments[0]}")  # what `top` shows


if __name__ == "__main__":
    try:
        main()
    except KarmaError as error:
        print(f"karma: {escape_control(str(error), lines=True)}", file=sys.stderr)
        sys.exit(error.exit_code)
