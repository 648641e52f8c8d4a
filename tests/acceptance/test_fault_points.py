"""Death at every boundary between transaction, publication and release: nothing is lost, nothing is doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from karma.queue.fault_injection import POINTS
from tests.acceptance.fault_points import run


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def test_a_process_dies_at_every_point_and_the_run_still_ends_exact(kind: str, tmp_path: Path) -> None:
    found = run(1, kind, tmp_path)
    print(found)
    assert found["points"] == found["deaths"] == sum(len(points) for points in POINTS.values())
    assert found["ended"] == found["accepted"]
    assert not any(found["doubled"].values()), found
    assert not any(found["broken"].values()), found
