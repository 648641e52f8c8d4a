"""The URL of a store: aliases, passwords with any characters, and errors that repeat no part of one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.config.database_address import DatabaseAddress
from karma.config.environment import Environment
from karma.errors import SettingsError
from karma.store import Store
from karma.store.location import parse, shown

ODD = "hu@sh#hush/%41?&=:;'\" hush"


def test_postgres_is_postgresql() -> None:
    store = Store("postgres://karma:hush@127.0.0.1:1/karma")
    assert store.engine.dialect.name == "postgresql"
    assert store.shown_url == "postgresql://karma:***@127.0.0.1:1/karma"


def test_a_file_is_shown_as_its_path() -> None:
    assert shown(parse("sqlite:////tmp/100%25 why%3F/karma.db")) == "sqlite:////tmp/100% why?/karma.db"


def test_a_password_of_its_own_variable_may_have_any_characters() -> None:
    environment = Environment.read(
        {"KARMA_DATABASE_URL": "postgresql://karma@h:1/d?sslmode=require", "KARMA_DATABASE_PASSWORD": ODD}
    )
    store = Store(environment.database)
    assert (store.engine.url.password, store.engine.url.query) == (ODD, {"sslmode": "require"})
    assert store.shown_url == "postgresql://karma:***@h:1/d"
    assert "hu" not in f"{environment!r} {environment.database!r} {store.engine!r} {store.engine.url!r}".replace(
        "h:1", ""
    )


@given(st.text(min_size=1))
def test_every_password_of_its_own_variable_arrives_as_it_is(password: str) -> None:
    url = parse(DatabaseAddress("postgresql://karma@h/d", password))
    assert (url.username, url.password, url.host, url.database) == ("karma", password, "h", "d")


def test_an_escaped_password_is_the_same_as_the_one_of_the_variable() -> None:
    for url in ("postgresql://karma:a%40b%25@h/d", "postgresql://karma@h/d?password=a%40b%25"):
        parsed = parse(DatabaseAddress(url, "a@b%"))
        assert (parsed.password, parsed.query) == ("a@b%", {})
        with pytest.raises(SettingsError, match="another password than KARMA_DATABASE_PASSWORD") as error:
            parse(DatabaseAddress(url, "hush"))
        assert "hush" not in str(error.value) and "a@b" not in str(error.value) and "%40" not in str(error.value)


@pytest.mark.parametrize("password", ["hu#sh", "hu/sh", "hu?sh", "100%hush", "hu:sh", "hu+sh", "hu;sh", "hu[sh"])
def test_a_password_that_leaves_no_doubt_is_read_without_escapes(password: str) -> None:
    parsed = parse(f"postgresql://karma:{password}@h:1/d?sslmode=require")
    assert (parsed.username, parsed.password, parsed.host, parsed.port) == ("karma", password, "h", 1)
    assert "hu" not in shown(parsed)


@pytest.mark.parametrize(
    "rest",
    [
        "u:ab@hush@h/d", "u:1@hush@h:2/d", "u:hush@5/hush@h/d", "u:hush@x?hush@h/d", "u:hush@x#hush@h/d",
        "u:@hush@h/d", "u/x:hush@h/d", "u:%ffhush@h/d", "u:hush@h:port/d", "u:hush#hush", "u#hush/d",
        "h/d?password=hush@hush@", "h/d?password=a&hush=1", "h/d?hush=1", "h/d@hush",
    ],
)  # fmt: skip
def test_a_password_that_could_be_another_part_is_refused_without_repeating_any_of_it(rest: str) -> None:
    with pytest.raises(SettingsError, match="write @ as %40.*KARMA_DATABASE_PASSWORD") as error:
        shown(parse(f"postgresql://{rest}"))
    assert "hush" not in str(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize("url", ["mysql://u:hush@h/d", "hush", "postgresql://u:hush@h:port/d", ""])
def test_any_other_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="sqlite") as error:
        parse(url)
    assert "hush" not in str(error.value)


def test_a_password_without_a_server_is_refused() -> None:
    with pytest.raises(SettingsError, match="set KARMA_DATABASE_URL=postgresql://USER@HOST/DATABASE") as error:
        Store(Environment.read({"KARMA_DATABASE_PASSWORD": "hush"}).database)
    assert "hush" not in str(error.value)
