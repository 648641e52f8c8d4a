"""Fault points: named once, passed by the code, and deadly only where a test armed them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from karma.queue.fault_injection import POINTS

ROOT = Path(__file__).parents[4]


def test_an_armed_point_kills_once_and_others_do_not(tmp_path: Path) -> None:
    (tmp_path / "score.claimed").touch()
    program = (
        "from karma.queue.fault_injection import reach; reach('score.received'); reach('score.claimed'); print('alive')"
    )
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "KARMA_TEST_FAULTS": str(tmp_path)}
    died = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (died.returncode, died.stdout) == (137, "")
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (0, "alive\n")


def test_every_point_that_the_code_passes_is_listed() -> None:
    listed = {point for points in POINTS.values() for point in points}
    endings = {point.partition(".")[2] for point in listed}
    for path in [*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")]:
        for named in re.findall(r'reach\(f?"([^"]+)"\)', path.read_text()):
            assert named in listed or named.rpartition("}.")[2] in endings, f"{path}: {named}"
