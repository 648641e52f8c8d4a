"""Servers that were not written here: whatever they answer is recorded, as a text or as a reason of a known kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.real_servers import SERVERS, run
from tests.support import needs


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name == "llama.cpp" else pytest.mark.ci) for name in SERVERS]
)
def test_a_real_server_answers_and_judges_and_nothing_is_lost(name: str, tmp_path: Path) -> None:
    needs.server(name)
    found = run(name, 30, tmp_path / "home")
    print(found)
    assert found["dead"] == 0
    assert found["responses"] == 60
    assert set(found["failed_responses"]) <= {"unfinished"}  # a tiny model does not always end
    assert "other" not in found["failed_verdicts"]
    if name == "litellm":  # the others' judges are too small to judge
        assert found["resolutions"]["decisive"] == 30
