"""The address of Redis: options of TLS are validated, and no password is ever repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from karma.config.environment import Environment
from karma.config.redis_address import RedisAddress
from karma.errors import SettingsError


def test_an_address_without_tls_is_taken_as_it_is() -> None:
    address = RedisAddress.parse("redis://:secret@host:1/2?db=3")
    assert (address.url, address.shown, address.tls) == (
        "redis://:secret@host:1/2?db=3",
        "redis://host:1/2",
        {},
    )


def test_tls_verifies_unless_it_is_told_not_to(tmp_path: Path) -> None:
    assert RedisAddress.parse("rediss://h").tls == {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    assert RedisAddress.parse("rediss://h?ssl_cert_reqs=none").tls["ssl_cert_reqs"] == "none"
    file = tmp_path / "c a.pem"
    file.touch()
    address = RedisAddress.parse(f"rediss://h/0?ssl_ca_certs={file}&db=1")
    assert (address.tls["ssl_ca_certs"], address.url) == (str(file), "rediss://h/0?db=1")


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
    ],
)  # fmt: skip
def test_a_wrong_address_is_refused_at_the_start_without_its_password(url: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected) as error:
        Environment.read({"KARMA_REDIS_URL": url})
    assert "hush" not in str(error.value)
