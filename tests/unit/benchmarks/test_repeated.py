"""Rivals in turn: the order of their measurements, and repetitions that join earlier ones."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.benchmarks.repeated import Figures, alternate, print_table, turned
from tests.support import needs

PAIRS = [("karma", "base")]


def rivals(*names: str) -> tuple[dict[str, Callable[[object], Figures]], list[str]]:
    """Rivals that do nothing, and a list of their measurements."""
    asked: list[str] = []

    def measure(name: str) -> Figures:
        asked.append(name)
        return {"speed": 1.0 + len(asked), **({"memory": 3.0} if name == names[0] else {})}

    return {name: lambda _part, name=name: measure(name) for name in names}, asked  # type: ignore[misc]


def options(repetitions: int, path: Path | None = None, resume: bool = False) -> Namespace:
    return Namespace(repetitions=repetitions, json=path, resume=resume)


def test_every_rival_is_at_every_place_equally_often() -> None:
    names = ["karma", "base", "script"]
    orders = [turned(names, turn) for turn in range(6)]
    for place in range(3):
        assert sorted(order[place] for order in orders) == sorted(names * 2)


def test_all_rivals_do_a_part_before_the_next_begins() -> None:
    needs.linux()
    done: list[tuple[str, int]] = []

    def measure(name: str, part: int) -> Figures:
        done.append((name, part))
        return {f"of_{part}": 1.0}

    found = alternate({name: partial(measure, name) for name in ("karma", "base")}, [7, 9], options(1), {}, [])
    assert done == [("karma", 7), ("base", 7), ("base", 9), ("karma", 9)]
    assert set(found[0]["rivals"]["base"]) == {"of_7", "of_9", "others_cores"}


def test_a_rival_may_leave_a_part_out() -> None:
    needs.linux()
    few = {"karma": lambda _part: {"speed": 1.0}, "library": lambda part: {} if part == 2 else {"speed": 2.0}}
    assert alternate(few, [1, 2], options(1), {}, [])[0]["rivals"]["library"]["speed"] == 2.0
    assert alternate(few, [2], options(1), {}, [])[0]["rivals"]["library"] == {}


def test_repetitions_that_are_resumed_join_those_in_the_file(tmp_path: Path) -> None:
    needs.linux()
    path = tmp_path / "out.json"
    measured, asked = rivals("karma", "base")
    for _call in range(2):
        found = alternate(measured, [1], options(1, path, resume=True), {"sizes": (1, 2)}, PAIRS)
    assert len(found) == 2
    assert asked == ["karma", "base", "base", "karma"]
    written = json.loads(path.read_text())
    assert set(written["ratios"]["karma / base"]) == {"speed"}
    assert written["ratios"]["karma / base"]["speed"]["low"] is not None


def test_figures_of_another_setting_are_not_mixed_in(tmp_path: Path) -> None:
    needs.linux()
    path = tmp_path / "out.json"
    measured, _asked = rivals("karma", "base")
    alternate(measured, [1], options(1, path), {"size": 1}, PAIRS)
    with pytest.raises(SystemExit, match="another setting"):
        alternate(measured, [1], options(1, path, resume=True), {"size": 2}, PAIRS)


def test_the_table_has_medians_ratios_and_what_else_the_machine_did(capsys: pytest.CaptureFixture[str]) -> None:
    needs.linux()
    measured, _asked = rivals("karma", "base")
    print_table(alternate(measured, [1], options(2), {}, PAIRS), PAIRS)
    table = capsys.readouterr().out
    speed, memory = (next(line for line in table.splitlines() if line.startswith(name)) for name in ("speed", "memory"))
    assert speed.split()[1:3] == ["3.5", "3.5"]  # 2 and 5, 3 and 4
    assert "[" in speed
    assert memory.split()[1:] == ["3"]  # only one of them has it
    assert "other CPU use" in table
