"""Lists of values as one parameter of a statement: JSON for SQLite, the literal of an array for PostgreSQL.

The driver of PostgreSQL would choose the type of an array of integers by the largest one, and a statement with other
types is another statement for its cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from sqlalchemy import Dialect, Float, Integer, Text
from sqlalchemy.types import TypeEngine

#: The lists without a value.
EMPTY = ("[]", "{}")


def array(of: TypeEngine[Any], dialect: Dialect) -> str:
    """The name of PostgreSQL's type of arrays of these values."""
    return f"{of.compile(dialect)}[]"


def encoder(of: TypeEngine[Any], dialect: Dialect) -> Callable[[Iterable[Any]], str]:
    """What writes a list of values of a column's type.

    Raises:
        TypeError: they are neither numbers nor texts.
    """
    if not isinstance(of, Integer | Float | Text):
        raise TypeError(f"a list of {of!r} has no literal; use a statement of SQLAlchemy")
    if dialect.name == "sqlite":
        return _json
    return _texts if isinstance(of, Text) else _numbers


def _json(values: Iterable[Any]) -> str:
    return msgspec.json.encode(list(values)).decode()


def _numbers(values: Iterable[Any]) -> str:
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _texts(values: Iterable[Any]) -> str:
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
