"""Queries of the hot paths: expressions of SQLAlchemy, compiled once per database and run through its driver.

SQLAlchemy spends 40 to 100 µs of CPU on each execution of a statement, and more for each parameter and row; the drivers
spend 3. Statements about many rows are in `karma.store.bulk`. Both run within the transaction of the `Connection` that
they get, and fail as its own statements do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Boolean, ColumnElement, Connection, Dialect, Executable, bindparam
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeEngine, UserDefinedType

from karma.store import driver
from karma.store.lists import EMPTY, array, encoder

_T = TypeVar("_T")


class Query:
    """A statement with parameters, for one execution.

    Args:
        statement: with a `bindparam`, or `among`, for each parameter; other values in it are constants.
        names: of the parameters, in the order in which `rows` and `run` take their values.
    """

    def __init__(self, statement: Executable, *names: str) -> None:
        self._statement: Any = statement
        self._names = names
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, connection: Connection, *values: Any) -> list[Any]:
        """The rows that it returns, as tuples. Where a list is empty, it is not executed: there are none."""
        compiled = self._for(connection.dialect)
        ordered = compiled.ordered(values)
        return [] if ordered is None else driver.rows(connection, compiled.text, ordered)

    def run(self, connection: Connection, *values: Any) -> int:
        """The number of rows that it changed; 0 where a list is empty."""
        compiled = self._for(connection.dialect)
        ordered = compiled.ordered(values)
        return 0 if ordered is None else int(driver.run(connection, compiled.text, ordered).rowcount)

    def grouped(self, connection: Connection, by: int, make: Callable[..., _T], *values: Any) -> dict[Any, list[_T]]:
        """The rows, each as `make` makes it of its values, by their value at the index `by`; without a row: empty."""
        groups: dict[Any, list[_T]] = defaultdict(list)
        for row in self.rows(connection, *values):
            groups[row[by]].append(make(*row))
        return groups

    def _for(self, dialect: Dialect) -> _Compiled:
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = _compiled(self._statement, self._names, dialect)
        return found


def among(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """The condition that a column's value is in the list that is the parameter `name` of a `Query`.

    The list is one parameter, so that the statement's text is constant and the databases' caches find it prepared.
    """
    return _Among(column, name)


class _Compiled(NamedTuple):
    text: str
    lists: Sequence[tuple[int, Callable[[Iterable[Any]], str]]]  # parameters that are lists
    constants: tuple[Any, ...]
    order: Callable[[Sequence[Any]], Any] | None  # of parameters and constants in the text; None: as they are

    def ordered(self, values: tuple[Any, ...]) -> Sequence[Any] | None:
        """The text's parameters; None where a list is empty."""
        if self.lists:
            given = list(values)
            for index, encode in self.lists:
                given[index] = encode(values[index])
                if given[index] in EMPTY:
                    return None
            values = tuple(given)
        values += self.constants
        return values if self.order is None else self.order(values)


def _compiled(statement: Any, names: Sequence[str], dialect: Dialect) -> _Compiled:
    # Parameters by position; in a copy, as the engine's dialect keeps its own style.
    by_position: Any = psycopg.dialect
    positional = by_position(paramstyle="format") if dialect.name == "postgresql" else dialect
    compiled = statement.compile(dialect=positional)
    constants = [name for name in compiled.positiontup if name not in names]
    given = [*names, *constants]
    lists = [
        (index, encoder(compiled.binds[name].type.of, dialect))
        for index, name in enumerate(names)
        if isinstance(compiled.binds[name].type, _ListOf)
    ]
    values = tuple(compiled.params[name] for name in constants)
    indices = [given.index(name) for name in compiled.positiontup]
    return _Compiled(str(compiled), lists, values, None if indices == list(range(len(given))) else _at(indices))


def _at(indices: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    return lambda values: [values[index] for index in indices]


class _ListOf(UserDefinedType[Any]):
    """The type of a parameter that is a list of a column's values."""

    cache_ok = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        self.of = of


class _Among(ColumnElement[bool]):
    inherit_cache = True
    type = Boolean()

    def __init__(self, column: ColumnElement[Any], name: str) -> None:
        self.column = column
        self.values: Any = bindparam(name, type_=_ListOf(column.type))

    def self_group(self, against: Any = None) -> Any:
        """Itself: as a value, which SQLite compares with 1, it would use no index."""
        return self


@compiles(_Among, "sqlite")
def _in_json(element: _Among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in (element.column, element.values))
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - names of the schema


@compiles(_Among, "postgresql")
def _in_array(element: _Among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in (element.column, element.values))
    return f"{column} = ANY({values}::{array(element.column.type, compiler.dialect)})"
