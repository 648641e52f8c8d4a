"""The URL of a store: aliases, and errors that repeat no password."""

from __future__ import annotations

import pytest

from karma.errors import SettingsError
from karma.store import Store
from karma.store.location import parse, shown


def test_postgres_is_postgresql() -> None:
    store = Store("postgres://karma:hush@127.0.0.1:1/karma")
    assert store.engine.dialect.name == "postgresql"
    assert store.shown_url == "postgresql://karma:***@127.0.0.1:1/karma"


def test_a_file_is_shown_as_its_path() -> None:
    assert shown(parse("sqlite:////tmp/100%25 why%3F/karma.db")) == "sqlite:////tmp/100% why?/karma.db"


@pytest.mark.parametrize("url", ["mysql://u:hush@h/d", "hush", "postgresql://u:hush@h:port/d", ""])
def test_any_other_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="sqlite") as error:
        parse(url)
    assert "hush" not in str(error.value)
