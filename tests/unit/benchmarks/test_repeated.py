"""Rivals in turn: the order of their measurements, and repetitions that join earlier ones."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.repeated import Figures, alternate, print_table
from tests.support import needs


def rivals(*names: str) -> tuple[dict[str, Callable[[], Figures]], list[str]]:
    """Rivals that do nothing, and a list of their measurements."""
    asked: list[str] = []

    def measure(name: str) -> Figures:
        asked.append(name)
        return {"speed": 1.0 + len(asked), **({"memory": 3.0} if name == names[0] else {})}

    return {name: lambda name=name: measure(name) for name in names}, asked  # type: ignore[misc]


def options(repetitions: int, path: Path | None = None, resume: bool = False) -> Namespace:
    return Namespace(repetitions=repetitions, json=path, resume=resume)


def test_every_rival_is_first_and_last_equally_often() -> None:
    needs.linux()
    measured, asked = rivals("karma", "base", "script")
    alternate(measured, options(6), {})
    rounds = [asked[start : start + 3] for start in range(0, 18, 3)]
    for place in (0, 2):
        assert sorted(names[place] for names in rounds) == sorted(["karma", "base", "script"] * 2)


def test_repetitions_that_are_resumed_join_those_in_the_file(tmp_path: Path) -> None:
    needs.linux()
    path = tmp_path / "out.json"
    measured, asked = rivals("karma", "base")
    for _call in range(2):
        found = alternate(measured, options(1, path, resume=True), {"sizes": (1, 2)})
    assert len(found) == 2
    assert asked == ["karma", "base", "base", "karma"]
    written = json.loads(path.read_text())
    assert set(written["ratios"]) == {"speed"}
    assert written["ratios"]["speed"]["base"]["low"] is not None


def test_figures_of_another_setting_are_not_mixed_in(tmp_path: Path) -> None:
    needs.linux()
    path = tmp_path / "out.json"
    measured, _asked = rivals("karma", "base")
    alternate(measured, options(1, path), {"size": 1})
    with pytest.raises(SystemExit, match="another setting"):
        alternate(measured, options(1, path, resume=True), {"size": 2})


def test_the_table_has_medians_ratios_and_what_else_the_machine_did(capsys: pytest.CaptureFixture[str]) -> None:
    needs.linux()
    measured, _asked = rivals("karma", "base")
    print_table(alternate(measured, options(2), {}), "karma")
    table = capsys.readouterr().out
    speed, memory = (next(line for line in table.splitlines() if line.startswith(name)) for name in ("speed", "memory"))
    assert speed.split()[1:3] == ["3.5", "3.5"]  # 2 and 5, 3 and 4
    assert "[" in speed
    assert memory.split()[1:] == ["3"]  # only one of them has it
    assert "other CPU use" in table
