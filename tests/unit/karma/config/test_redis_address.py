"""The address of Redis: options of TLS are validated, and no password is ever repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.url import parse_url as celery_reads
from redis.connection import parse_url as redis_reads

from karma.config.environment import Environment
from karma.config.redis_address import RedisAddress, with_credentials
from karma.errors import SettingsError


def test_an_address_without_tls_is_taken_as_it_is() -> None:
    address = RedisAddress.parse("redis://:secret@host:1/2")
    assert (address.url, address.shown, address.tls) == ("redis://:secret@host:1/2", "redis://host:1/2", {})
    assert "secret" not in repr(address)


def test_tls_verifies_unless_it_is_told_not_to(tmp_path: Path) -> None:
    assert RedisAddress.parse("rediss://h").tls == {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    assert RedisAddress.parse("rediss://h?ssl_cert_reqs=none").tls["ssl_cert_reqs"] == "none"
    file = tmp_path / "c a.pem"
    file.touch()
    address = RedisAddress.parse(f"rediss://h?ssl_ca_certs={file}&db=1")
    assert (address.tls["ssl_ca_certs"], address.url) == (str(file), "rediss://h/1")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h?ssl_ca_certs=x", "no TLS: begin it with rediss://"),
        ("rediss://h?ssl_ca_cert=x", "unknown option ssl_ca_cert .did you mean 'ssl_ca_certs'"),
        ("rediss://h?ssl_cert_reqs=sometimes", "is 'sometimes', expected required or none"),
        ("rediss://h?ssl_check_hostname=maybe", "expected true or false"),
        ("rediss://h?ssl_ca_certs=/nowhere.pem", "'/nowhere.pem': there is no such file"),
        ("localhost:6379", "expected redis://"),
        ("http://h", "expected redis://"),
        ("redis://", "expected redis://"),
        ("redis://:hush/hush@h:1/0", "write @ as %40, / as %2F"),
        ("redis://:hush#hush@h:1/0", "write @ as %40, / as %2F"),
        ("redis://u:1#hush@h:1/0", "write @ as %40, / as %2F"),
        ("redis://u:1/hush@h:1/0", "write @ as %40, / as %2F"),
        ("redis://u:1?hush@h:1/0", "write @ as %40, / as %2F"),
        ("redis://u:1#hush", "write @ as %40, / as %2F"),
        ("redis://u:1/hush", "write @ as %40, / as %2F"),
        ("redis://u:%ffhush@h", "write @ as %40, / as %2F"),
        ("redis://u:[hush@h", "write @ as %40, / as %2F"),
        ("redis://h?password=a&hush=1", "an option that KARMA does not know"),
        ("redis://h/1?db=2", "two databases"),
        ("redis://h?db=hush", "two databases"),
    ],
)  # fmt: skip
def test_a_wrong_address_is_refused_at_the_start_without_its_password(url: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected) as error:
        Environment.read({"KARMA_REDIS_URL": url})
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("password", ["hu@sh", "hu:sh", "hu;sh", "100%hush", "hu+sh", "a@b:c@hush"])
def test_a_password_that_leaves_no_doubt_is_read_without_escapes(password: str) -> None:
    address = RedisAddress.parse(f"redis://u:{password}@h:1/0")
    assert (read(address.url), address.shown) == (("u", password, "h", 1), "redis://h:1/0")


def read(url: str) -> tuple[object, ...]:
    """User, password, host and port of a URL, as both clients read them."""
    own, celerys = redis_reads(url), celery_reads(url)
    found = own.get("username"), own.get("password"), own["host"], own.get("port")
    assert found == (celerys["userid"], celerys["password"], celerys["hostname"], celerys["port"])
    return found


@given(st.text(min_size=1), st.text(min_size=1))
def test_user_and_password_of_their_own_variables_arrive_as_they_are(user: str, password: str) -> None:
    joined = with_credentials("rediss://h:1/2?ssl_cert_reqs=none", user, password)
    address = RedisAddress.parse(joined)
    assert (read(address.url), address.shown) == ((user, password, "h", 1), "rediss://h:1/2")
    assert ";" not in joined  # Celery splits a list of addresses there
    assert with_credentials(joined, user, password) == joined


def test_two_passwords_or_users_are_refused_and_not_repeated() -> None:
    for variables in ({"KARMA_REDIS_PASSWORD": "hush2"}, {"KARMA_REDIS_USER": "v-hush"}):
        with pytest.raises(SettingsError, match="two different ones") as error:
            Environment.read({"KARMA_REDIS_URL": "redis://u:hush1@h", **variables})
        assert "hush" not in str(error.value)


def test_a_password_without_an_address_is_refused() -> None:
    with pytest.raises(SettingsError, match="KARMA_REDIS_URL is not") as error:
        Environment.read({"KARMA_REDIS_PASSWORD": "hush"})
    assert "hush" not in str(error.value)


def test_an_environment_shows_no_address_with_a_password() -> None:
    given = {
        "KARMA_REDIS_URL": "redis://u@h",
        "KARMA_REDIS_PASSWORD": "hush",
        "KARMA_DATABASE_URL": "postgresql://u:hush@h",
    }
    environment = Environment.read(given)
    assert environment.broker_url() == "redis://u:hush@h"
    assert "hush" not in repr(environment)
