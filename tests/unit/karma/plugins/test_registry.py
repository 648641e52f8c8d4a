"""Every built-in part is registered in one place, `karma/plugins/registry.py`, and that place names nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from karma.plugins import find
from karma.plugins.registry import FAMILIES, Family

ROOT = Path(__file__).parents[4]
SOURCES = [path for folder in ("shared", "services") for path in sorted((ROOT / folder).rglob("*.py"))]
FOLDERS = {
    "backends": "services/karma_generation/backends",
    "judges": "services/karma_judging/judges",
    "checkers": "shared/karma/checkers",
    "exporters": "services/karma_gateway/exporters",
}
METHODS = {
    "backends": "answer",
    "judges": "judge",
    "policies": "choose",
    "checkers": "__call__",
    "exporters": "__call__",
}
NAMED_BY = ("backend", "kind", "policy", "checker", "exporter")

PARTS = [(family, name) for family, named in FAMILIES.items() for name in named]


@pytest.mark.parametrize(("family", "name"), PARTS)
def test_a_part_is_found_by_its_name_and_has_what_its_family_needs(family: Family, name: str) -> None:
    part = find(family, name)
    assert callable(getattr(part, METHODS[family]))
    if family == "policies":
        assert part().name == name
        assert callable(part.plan)


def test_no_part_is_registered_twice() -> None:
    paths = [part.path for named in FAMILIES.values() for part in named.values()]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("family", FOLDERS)
def test_every_file_of_a_family_is_registered(family: Family) -> None:
    files = {path.stem for path in (ROOT / FOLDERS[family]).glob("*.py")} - {"__init__"}
    assert files == {part.path.partition(":")[0].rpartition(".")[2] for part in FAMILIES[family].values()}


def test_no_other_file_lists_parts_or_asks_for_one_by_name() -> None:
    """A second list, or `if kind == "verifier"`, would have to be found by whoever adds a part."""
    sources = [path for path in SOURCES if path.name != "registry.py"]
    assert len(sources) > 200
    for path in sources:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        collections, compared = list(_collections(nodes)), _compared(nodes)
        for family, named in FAMILIES.items():
            listed = [strings for strings in collections if len(strings & named.keys()) > 1]
            assert not listed, f"{path}: {family} are listed besides karma/plugins/registry.py: {listed}"
            asked = compared & named.keys()
            assert not asked, f"{path}: asks for {asked} by name; declare the fact in karma/plugins/registry.py"


def _collections(nodes: list[ast.AST]) -> Iterator[set[str]]:
    for node in nodes:
        if isinstance(node, ast.Dict):
            yield {text for key in node.keys if key is not None for text in _strings(key)}
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            yield {text for element in node.elts for text in _strings(element)}


def _compared(nodes: list[ast.AST]) -> set[str]:
    """Names that something called `kind`, `backend`, `policy`… is compared with."""
    compared: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Attribute) and side.attr in NAMED_BY for side in sides):
                compared |= {text for side in sides for text in _strings(side)}
    return compared


def _strings(node: ast.expr) -> set[str]:
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()
