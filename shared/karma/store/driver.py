"""The driver of the database behind a connection of SQLAlchemy: executes text within the connection's transaction.

Its errors become those that a statement of the connection would raise: without parameters, and a dead connection is
given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection


def run(connection: Connection, text: str, values: Sequence[Any] = ()) -> Any:
    """The driver's cursor after the statement."""
    try:
        return _driver(connection).execute(text, values)
    except _error_of(connection) as cause:
        connection._handle_dbapi_exception(cause, text, None, None, None)


def rows(connection: Connection, text: str, values: Sequence[Any] = ()) -> list[Any]:
    """The rows that the statement returns, as tuples."""
    try:
        return list(_driver(connection).execute(text, values).fetchall())
    except _error_of(connection) as cause:
        connection._handle_dbapi_exception(cause, text, None, None, None)


def run_many(connection: Connection, text: str, each: Sequence[Sequence[Any]]) -> int:
    """Executes the statement once for each; returns the number of rows that changed."""
    try:
        return int(_driver(connection).executemany(text, each).rowcount)
    except _error_of(connection) as cause:
        connection._handle_dbapi_exception(cause, text, None, None, None)


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _error_of(connection: Connection) -> type[Exception]:
    return connection.dialect.loaded_dbapi.Error
