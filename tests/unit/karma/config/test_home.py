"""A home is private to its owner, and to a group that was given rights on purpose."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from karma.config.atomic_file import whole_file, write_private
from karma.config.home import make_private
from karma.errors import KarmaError, SettingsError


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_and_what_is_written_there_is_its_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert not make_private(home)
    (home / "log").write_text("x")
    (home / "run").mkdir()
    assert [mode(path) for path in (home, home / "log", home / "run")] == [0o700, 0o600, 0o700]


@pytest.mark.parametrize(
    ("before", "after", "file"), [(0o755, 0o750, 0o640), (0o701, 0o700, 0o600), (0o777, 0o770, 0o640)]
)
def test_a_home_that_others_could_enter_is_closed_to_them_and_stays_open_to_its_group(
    tmp_path: Path, before: int, after: int, file: int
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(before)
    assert make_private(home)
    (home / "log").write_text("x")
    assert (mode(home), mode(home / "log")) == (after, file)
    assert not make_private(home)


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="KARMA_HOME cannot be used"):
        make_private(tmp_path / "file" / "home")


def test_a_private_file_replaces_a_link_and_never_follows_it(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("mine")
    link.symlink_to(target)
    write_private(link, "secret")
    assert (target.read_text(), link.read_text(), link.is_symlink(), mode(link)) == ("mine", "secret", False, 0o600)


def test_a_whole_file_has_the_users_own_rights_and_a_name_that_nobody_can_prepare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, names = tmp_path / "out.jsonl", []
    for _run in range(2):
        with whole_file(path) as unfinished:
            names.append(unfinished.name)
            unfinished.write_text("x")
    assert (mode(path), len(set(names))) == (0o644, 2)
    monkeypatch.setattr("secrets.token_hex", lambda _bytes: "0")
    (tmp_path / ".out.jsonl.0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KarmaError, match="cannot be written"), whole_file(path):
        pass
    assert not (tmp_path / "elsewhere").exists()
