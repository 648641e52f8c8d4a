"""Death at every boundary between transaction, publication and release: nothing is lost, nothing is doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from karma.queue.fault_injection import POINTS
from tests.acceptance.fault_points import Points, run

#: One point of each service, and of each boundary: between transaction, publication and release.
FEW = {
    "ingest": ("ingest.after_commit",),
    "gateway": ("sweep.after_commit",),
    "generation": ("generate.before_publish",),
    "scoring": ("score.before_commit",),
    "matching": ("match.after_publish",),
    "judging": ("judge.before_release",),
}


#: Where a judgement is opened with a verdict, and sent.
OF_OPENED = {
    "ingest": (),
    "gateway": ("sweep.after_commit",),
    "scoring": ("learn.before_commit", "learn.after_commit", "learn.before_release"),
    "judging": ("judge.before_publish", "judge.before_release"),
}


@pytest.mark.ci
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("opens", "opened"), [("adaptive", "second_orders"), ("cascade", "larger_judges")])
def test_a_process_dies_where_verdicts_open_judgements_and_the_run_still_ends_exact(
    opens: str, opened: str, tmp_path: Path
) -> None:
    found = run(1, "sqlite", tmp_path, OF_OPENED, opens=opens)
    print(found)
    assert found["points"] == found["deaths"] == sum(map(len, OF_OPENED.values()))
    assert found["ended"] == found["accepted"]
    assert found[opened] > 5
    assert not any(found["doubled"].values()), found
    assert not any(found["broken"].values()), found


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("points", "kind"),
    [
        pytest.param(FEW, "sqlite", id="few-sqlite"),
        pytest.param(POINTS, "sqlite", id="every-sqlite", marks=pytest.mark.ci),
        pytest.param(POINTS, "postgresql", id="every-postgresql", marks=pytest.mark.long),
    ],
)
def test_a_process_dies_at_each_point_and_the_run_still_ends_exact(points: Points, kind: str, tmp_path: Path) -> None:
    found = run(1, kind, tmp_path, points)
    print(found)
    assert found["points"] == found["deaths"] == sum(map(len, points.values()))
    assert found["ended"] == found["accepted"]
    assert not any(found["doubled"].values()), found
    assert not any(found["broken"].values()), found
