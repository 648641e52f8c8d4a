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


#: Where a second order is opened with the first verdict, and sent.
OF_SECOND_ORDERS = {
    "ingest": (),
    "gateway": ("sweep.after_commit",),
    "scoring": ("learn.before_commit", "learn.after_commit", "learn.before_release"),
    "judging": ("judge.before_publish", "judge.before_release"),
}


@pytest.mark.ci
@pytest.mark.timeout(400)
def test_a_process_dies_where_second_orders_are_opened_and_the_run_still_ends_exact(tmp_path: Path) -> None:
    found = run(1, "sqlite", tmp_path, OF_SECOND_ORDERS, orders="adaptive")
    print(found)
    assert found["points"] == found["deaths"] == sum(map(len, OF_SECOND_ORDERS.values()))
    assert found["ended"] == found["accepted"]
    assert found["second_orders"] > 5
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
