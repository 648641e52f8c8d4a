"""Secrets that are given as files: `NAME_FILE`."""

from __future__ import annotations

from pathlib import Path

import pytest

from karma.config.environment import SECRETS, Environment
from karma.errors import SettingsError
from karma.messages.signing import Keyring


def test_a_file_holds_a_secret_as_it_is_or_as_the_line_that_sets_it(tmp_path: Path) -> None:
    password, keys = tmp_path / "password", tmp_path / "keys"
    password.write_text(" p@ss#100% é \n")
    keys.write_text(f"KARMA_SIGNING_KEYS=score/a={'0' * 64} generate/a={'1' * 64}\n")
    found = Environment.read(
        {
            "KARMA_DATABASE_URL": "postgresql://karma@h/d",
            "KARMA_DATABASE_PASSWORD_FILE": str(password),
            "KARMA_SIGNING_KEYS_FILE": str(keys),
        }
    )
    assert found.database.password == " p@ss#100% é "
    assert set(found.keyring().given) == {"score/a", "generate/a"}
    assert isinstance(found.keyring(), Keyring)


@pytest.mark.parametrize("name", SECRETS)
def test_a_file_that_cannot_be_read_or_a_second_value_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}_FILE is '.*/none', which cannot be read: No such file"):
        Environment.read({f"{name}_FILE": str(tmp_path / "none")})
    (tmp_path / "secret").write_bytes(b"hush\xff")
    with pytest.raises(SettingsError, match="it is no text") as error:
        Environment.read({f"{name}_FILE": str(tmp_path / "secret")})
    assert "hush" not in str(error.value)
    with pytest.raises(SettingsError, match=f"{name} and {name}_FILE are both set"):
        Environment.read({name: "hush", f"{name}_FILE": str(tmp_path / "secret")})
