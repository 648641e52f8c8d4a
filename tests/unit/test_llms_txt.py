"""`llms.txt` leads to every page of the documentation, and to nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_lists_every_page_once() -> None:
    linked = re.findall(r"\]\(([^)]+)\)", (ROOT / "llms.txt").read_text())
    assert len(linked) == len(set(linked))
    assert [name for name in linked if not (ROOT / name).is_file()] == []
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")}
    assert pages - set(linked) == set()
