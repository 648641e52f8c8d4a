"""Benchmarks are programs that no test runs as a whole: what they import of each other and of KARMA is there."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.support.pipeline import ROOT

PROGRAMS = sorted((ROOT / "tests" / "benchmarks").rglob("*.py"))


@cache
def file_of(module: str) -> Path | None:
    """The file of one of our modules; None if there is none."""
    for folder in (ROOT, ROOT / "shared", ROOT / "services"):
        path = folder.joinpath(*module.split("."))
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.exists():
                return file
    return None


@cache
def names_in(file: Path) -> frozenset[str]:
    """What a module binds at its top, within `if` and `try` also."""
    found: set[str] = set()
    open_: list[ast.AST] = [ast.parse(file.read_text())]
    while open_:
        node = open_.pop()
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            open_ += ast.iter_child_nodes(node)
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found.add(other or name)
    return frozenset(found)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_benchmark_imports_is_there(program: Path) -> None:
    missing = []
    for node in ast.walk(ast.parse(program.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        if not node.module.split(".")[0].startswith(("tests", "karma")):
            continue
        file = file_of(node.module)
        for alias in node.names:
            if file is None or not (alias.name in names_in(file) or file_of(f"{node.module}.{alias.name}")):
                missing.append(f"{node.module}.{alias.name}")
    assert missing == []
