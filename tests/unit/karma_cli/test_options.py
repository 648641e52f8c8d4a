"""What commands share: the environment, and the hints that depend on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from karma_cli.options import read_environment, token_command


def test_the_hint_for_a_token_names_the_home_only_where_the_next_command_would_take_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KARMA_HOME", str(tmp_path / "mine"))
    assert token_command(read_environment()) == "karma token"
    assert token_command(read_environment(tmp_path / "mine")) == "karma token"
    assert token_command(read_environment(tmp_path / "an other")) == f"karma token --home '{tmp_path / 'an other'}'"
