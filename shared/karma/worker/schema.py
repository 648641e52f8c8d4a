"""The store's schema: a process waits for the right revision at the start, and ends when the revision changes.

`karma up`, the gateway and the commands migrate the store. Recording workers and the page never do.
"""

from __future__ import annotations

import logging
import os
import signal
import sys

from karma.config.environment import Environment
from karma.errors import NewerSchemaError, ReleasedError, StoreError
from karma.store import Store
from karma.store.instrumentation import measure
from karma.worker.connections import Connections
from karma.worker.retry import Shutdown, retry_on_outage

log = logging.getLogger(__name__)


def open_store(environment: Environment, connections: Connections, service: str) -> Store:
    """The store of a recording service, after its schema is at this version's revision; nothing is consumed before.

    Raises:
        NewerSchemaError: a newer version migrated the store.
        StoreError: it is no database.
    """
    store = Store(environment.database, environment.durability, connections.clock, service=service)
    wait_for_schema(store, environment.supervisor_pid)
    end_on_migration(store, connections.shutdown)
    measure(store)
    return store


def wait_for_schema(store: Store, supervisor_pid: int | None) -> None:
    """Wait until the schema is at this version's revision; a signal, or the end of the supervisor, ends the process.

    Raises:
        NewerSchemaError: a newer version migrated the store.
        StoreError: it is no database.
    """
    waiting = Shutdown(limit_s=0.0)
    parent = supervisor_pid or os.getppid()

    def check() -> None:
        if os.getppid() != parent:
            waiting.request()
        store.require_schema()

    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = [signal.signal(number, lambda _signal, _frame: waiting.request()) for number in numbers]
    try:
        retry_on_outage(check, "waiting for the store's schema", waiting)
    except ReleasedError:
        sys.exit(0)
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def end_on_migration(store: Store, shutdown: Shutdown) -> None:
    """Watch the store: when its revision changes, this process stops with an exit status of its own.

    It consumes no more messages and finishes or releases its batches. Processes of the right version do the rest.
    """

    def end(error: StoreError) -> None:
        if not shutdown.requested:
            log.warning("%s; this process ends", error)
            shutdown.request(NewerSchemaError.exit_code)
        os.kill(os.getpid(), signal.SIGTERM)

    store.watch(end)
