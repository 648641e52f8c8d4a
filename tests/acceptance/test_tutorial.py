"""The tutorial, run as its reader would: every block, in order, in a folder where the repository is laid out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import code_blocks

ROOT = Path(__file__).parents[2]


@pytest.mark.ci
@pytest.mark.timeout(900)
def test_the_tutorial_ends_with_a_better_model(tmp_path: Path) -> None:
    """Its set-up finds everything installed here: what an empty machine needs is what `.ci/run` does first."""
    for name in ("constraints.txt", "pyproject.toml", "Makefile", "shared", "services", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    (Path(sys.prefix) / ".demo").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KARMA_", "VIRTUAL_ENV"))}
    try:
        page, folder = ROOT / "docs" / "tutorial.md", tmp_path / "tutorial"
        said = code_blocks.run(page, tmp_path, folder, environment | {"HF_HUB_OFFLINE": "1"}, 850)
    finally:  # nothing of it runs on
        down = [str(Path(sys.prefix) / "bin" / "karma"), "down"]
        subprocess.run(down, cwd=tmp_path / "tutorial", env=environment, check=False, capture_output=True)
    found = re.search(r"right on 600 held-out prompts: ([\d.]+)% before, ([\d.]+)% after", said)
    assert found, said
    before, after = map(float, found.groups())
    assert after > before + 5.0, said
