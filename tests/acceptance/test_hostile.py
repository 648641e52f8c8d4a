"""Entries that KARMA did not write move nothing, short. The long form is `python -m tests.acceptance.hostile`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.hostile import run


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.ci)])
def test_random_forged_and_replayed_entries_move_nothing_and_are_counted(kind: str, tmp_path: Path) -> None:
    print(run(500, kind, tmp_path / "home", large_bytes=35_000_000))
