"""The recipes, run as their reader would: each form in and each format out, in order, in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import code_blocks

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.prefix) / "bin"


@pytest.mark.ci
@pytest.mark.timeout(400)
def test_every_recipe_works(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KARMA_")}
    environment |= {"PATH": f"{PROGRAMS}{os.pathsep}{environment['PATH']}", "HF_HUB_OFFLINE": "1"}
    try:
        said = code_blocks.run(ROOT / "docs" / "recipes.md", tmp_path, tmp_path, environment, 350)
    finally:  # nothing of it runs on
        subprocess.run([str(PROGRAMS / "karma"), "down"], cwd=tmp_path, env=environment, check=False)
    checked = re.findall(r"^12 rows of [\w-]+: 0 errors|^24 rows of kto: 0 errors", said, re.MULTILINE)
    assert len(checked) == 10, said
    assert "1 accepted, 0 already present, 2 refused" in said
    assert str(PROGRAMS) not in (tmp_path / "data" / "README.md").read_text()
    assert str(ROOT) not in (tmp_path / "data" / "README.md").read_text()
