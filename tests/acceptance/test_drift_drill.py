"""A judge that begins to prefer the longer answer is noticed, and nothing else is said. Longer: `drift_drill`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.drift_drill import passes, run
from tests.support import needs


@pytest.mark.ci
def test_a_judge_that_begins_to_prefer_the_longer_answer_fires_the_alert_on_length_and_no_other(tmp_path: Path) -> None:
    needs.prometheus()
    found = run(rate=25, change_at=850, within=500, preference=1.0, folder=tmp_path)
    print(found)
    assert passes(found, 500), found


@pytest.mark.long
def test_an_honest_judge_fires_nothing(tmp_path: Path) -> None:
    needs.prometheus()
    found = run(rate=25, change_at=10_000, within=500, preference=0.0, folder=tmp_path)
    assert found["fired_after"] is None, found
    assert found["others"] == [], found
