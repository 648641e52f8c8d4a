"""The size of the house: short files, few modules in a room, and nothing flat in the library but its ground."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "shared" / "karma"
SERVICES = ROOT / "services"

LONGEST_FILE = 300
MOST_MODULES = 14

#: What every part of the library may use, and what starts it. Everything else belongs into a room of its concept.
GROUND = {
    *("errors", "seeds", "lease", "verdicts", "imports"),
    *("__init__", "run"),
}


def too_long(folder: Path) -> list[str]:
    """Python files under a folder with more than 300 lines."""
    sizes = {path: len(path.read_text().splitlines()) for path in folder.rglob("*.py")}
    return [f"{path.relative_to(folder)}: {lines} lines" for path, lines in sizes.items() if lines > LONGEST_FILE]


def crowded(folder: Path) -> list[str]:
    """Folders, each without its sub-folders, with more than 14 modules."""
    rooms = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    found = {room: len([path for path in room.glob("*.py") if path.name != "__init__.py"]) for room in rooms}
    return [
        f"{room.relative_to(folder)}: {modules} modules" for room, modules in found.items() if modules > MOST_MODULES
    ]


def flat(library: Path) -> set[str]:
    """Modules directly under the library that are not of its ground."""
    return {path.stem for path in library.glob("*.py")} - GROUND


def test_no_file_of_the_product_is_longer_than_300_lines() -> None:
    assert too_long(LIBRARY) + too_long(SERVICES) == []


@pytest.mark.parametrize("service", sorted(path.name for path in SERVICES.glob("karma_*")))
def test_no_folder_of_a_service_has_more_than_14_modules(service: str) -> None:
    assert crowded(SERVICES / service) == []


def test_the_library_has_nothing_flat_but_its_ground() -> None:
    assert flat(LIBRARY) == set()


def test_every_place_that_contributing_names_exists() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where things are")[2].partition("## Habits")[0]
    named = re.findall(r"`(karma(?:_[a-z]+)?/[\w./]+)`", table)
    assert len(named) > 15
    assert [path for path in named if not ((LIBRARY.parent / path).exists() or (SERVICES / path).exists())] == []


@pytest.fixture
def untidy(tmp_path: Path) -> Path:
    """A folder that breaks every rule just so."""
    room = tmp_path / "room"
    room.mkdir()
    (tmp_path / "long.py").write_text("pass\n" * (LONGEST_FILE + 1))
    (tmp_path / "errors.py").write_text("pass\n" * LONGEST_FILE)
    for number in range(MOST_MODULES + 1):
        (room / f"module_{number}.py").touch()
    return tmp_path


def test_a_folder_that_breaks_the_rules_is_named(untidy: Path) -> None:
    assert too_long(untidy) == ["long.py: 301 lines"]
    assert crowded(untidy) == ["room: 15 modules"]
    assert flat(untidy) == {"long"}
    (untidy / "room" / "module_0.py").unlink()
    assert crowded(untidy) == []
