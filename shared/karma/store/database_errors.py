"""Which errors of a database are outages, which come from its schema or rights, and which are bugs."""

from __future__ import annotations

import re
import sqlite3

from sqlalchemy.exc import DBAPIError, OperationalError

#: SQLite's primary result codes that say "not now" and not "never".
_SQLITE_OUTAGES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
}

_SQLITE_RIGHTS = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}

#: How SQLite, which has one code for all of them, words the errors of a schema.
_SQLITE_SCHEMA = re.compile(
    r"no such (table|column|index|view)|has no column named|has \d+ columns but|ON CONFLICT clause does not match"
)

#: PostgreSQL's SQLSTATEs (appendix A of its manual) that another schema or other rights would not raise. A syntax
#: error (42601) and an ambiguous name are not among them: they are bugs of a statement, which no operator can repair.
_POSTGRESQL_SCHEMA = {
    "0A000",  # feature_not_supported: a cached plan whose table was altered
    "25006",  # read_only_sql_transaction
    "3F000",  # invalid_schema_name
    "428C9",  # generated_always
    "42501",  # insufficient_privilege
    "42703",  # undefined_column
    "42704",  # undefined_object
    "42804",  # datatype_mismatch
    "42809",  # wrong_object_type
    "42883",  # undefined_function
    "42P01",  # undefined_table
    "42P10",  # invalid_column_reference: no unique index for ON CONFLICT
}


def is_outage(error: DBAPIError) -> bool:
    """Whether the database may do later what it did not do now."""
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error.orig) in _SQLITE_OUTAGES
    return error.connection_invalidated or isinstance(error, OperationalError)


def is_schema_error(error: DBAPIError) -> bool:
    """Whether the tables or this user's rights on them are to blame, and not the statement or its data."""
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error.orig) in _SQLITE_RIGHTS or bool(_SQLITE_SCHEMA.search(str(error.orig)))
    return getattr(error.orig, "sqlstate", None) in _POSTGRESQL_SCHEMA


def is_missing_table(error: DBAPIError) -> bool:
    """Whether the statement names a table that does not exist."""
    return getattr(error.orig, "sqlstate", None) == "42P01" or str(error.orig).startswith("no such table")


def first_line(error: DBAPIError) -> str:
    """The database's own words, without the statement and its place in it."""
    return str(error.orig).strip().partition("\n")[0]


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
