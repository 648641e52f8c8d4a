"""Metrics of the store: durations of transactions, and errors."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from karma.store.database import Store
from karma.store.database_errors import is_outage
from karma.telemetry import metrics

_STARTED, _MODE = "karma_started", "karma_mode"


def measure(store: Store) -> None:
    """Measure every further transaction of this store, from checkout to check-in of its connection."""

    @event.listens_for(store.engine, "checkout")
    def checkout(_connection: Any, record: Any, _proxy: Any) -> None:
        record.info[_STARTED] = time.monotonic()

    @event.listens_for(store.engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("karma_writes", True)
        connection.info[_MODE] = "write" if writes else "read"

    @event.listens_for(store.engine, "checkin")
    def checkin(_connection: Any, record: Any) -> None:
        mode = record.info.pop(_MODE, None)
        if mode is not None:
            metrics.STORE_SECONDS.labels(mode).observe(time.monotonic() - record.info[_STARTED])

    @event.listens_for(store.engine, "handle_error")
    def handle_error(context: Any) -> None:
        error = context.sqlalchemy_exception
        outage = isinstance(error, DBAPIError) and is_outage(error)
        metrics.STORE_ERRORS.labels("outage" if outage else "error").inc()
