"""The address of the database: its URL, and its password where that is a variable of its own."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DatabaseAddress:
    """Where the database is; SQLAlchemy parses and joins the two (`karma.store.location`).

    Attributes:
        url: as in KARMA_DATABASE_URL; it may have a password.
        password: as in KARMA_DATABASE_PASSWORD, without any escapes; None if it is not set.
    """

    url: str = field(repr=False)
    password: str | None = field(default=None, repr=False)
