"""The chaos run, short: a few random faults. The long form is `python -m tests.acceptance.chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.chaos import run


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("kind", "faults"),
    [pytest.param("sqlite", 8, marks=pytest.mark.long), pytest.param("postgresql", 6, marks=pytest.mark.ci)],
)
def test_random_faults_lose_nothing_double_nothing_and_repeat_next_to_nothing(
    kind: str, faults: int, tmp_path: Path
) -> None:
    home, apart_s = tmp_path / "home", (2.0, 4.0)
    found = run(prompts=faults * 50, faults=faults, seed=4, kind=kind, home=home, apart_s=apart_s, warm_s=6.0)
    print(found)
    assert found["lost"] == found["doubled"] == 0, found
    assert found["ended"] == found["accepted"]
    assert found["repeated_share"] <= 0.01, found
