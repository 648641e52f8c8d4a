"""The same fault again and again, short. The long forms are `python -m tests.acceptance.storms`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.storms import run


@pytest.mark.timeout(450)
@pytest.mark.parametrize(
    ("storm", "count", "kind"),
    [
        ("kill", 5, "sqlite"),
        pytest.param("kill", 8, "postgresql", marks=pytest.mark.long),
        pytest.param("freeze", 1, "postgresql", marks=pytest.mark.ci),
        pytest.param("restart", 1, "postgresql", marks=pytest.mark.long),
        pytest.param("flush-few", 1, "sqlite", marks=pytest.mark.ci),
        pytest.param("reset", 1, "sqlite", marks=pytest.mark.ci),
        pytest.param("roll", 4, "sqlite", marks=pytest.mark.ci),
    ],
)
def test_a_storm_loses_nothing_and_doubles_nothing(storm: str, count: int, kind: str, tmp_path: Path) -> None:
    found = run(storm, count, kind, tmp_path / "home")
    print(found)
    assert found["lost"] == found["doubled"] == 0, found
    assert found["ended"] == found["accepted"]
    if storm == "roll":
        assert found["asked_twice"] == 0, found
        assert found["failed_responses"] == found["failed_verdicts"] == 0, found
        assert found["stopped_after_most_s"] < 15, found
    if storm == "reset":
        assert found["back_most_s"] < 15, found
