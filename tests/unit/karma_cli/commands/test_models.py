"""`karma models` keeps every number at any width: 30 models, 6 skills, with their intervals."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from karma.ranking.snapshot import Snapshot
from karma.store import Store
from karma_cli.commands.models import competencies
from karma_monitor.figures.leaderboard import Rating, leaderboard, skills_of
from tests.support.command import call
from tests.support.memory import Flow, make_pool
from tests.support.stores import sqlite_file

SKILLS = ("addition", "count", "dashes", "facts", "reverse", "a skill with a very long name indeed")
MODELS = [f"organization/model-{number:02d}-instruct-awq-2025-{number:02d}" for number in range(30)]
VALUE = re.compile(r"[+-]\d+\.\d ± \d+\.\d")


def snapshot(version: int, shift: float) -> Snapshot:
    """30 models in 6 skills, some with a competency of two digits; the kinship of all pairs is known."""
    cold = Snapshot.empty(MODELS, list(SKILLS), deviation=0.5)
    rng = np.random.default_rng(version)
    mean = rng.normal(0.0, 4.0, cold.mean.shape) + shift
    mean[:, 0] = 11.5
    kinship = rng.uniform(0.1, 0.9, cold.kinship.shape)
    comparisons = np.full_like(cold.comparisons, 100.0)
    deviation = rng.uniform(0.1, 7.0, cold.deviation.shape)
    return replace(cold, version=version, mean=mean, kinship=kinship, comparisons=comparisons, deviation=deviation)


@pytest.fixture(scope="module")
def boards() -> dict[str, list[Rating]]:
    history = [(100_000.0 * version, version, snapshot(version, 0.1 * version)) for version in range(1, 25)]
    newest = history[-1][2]
    return {skill: leaderboard(newest, skill, history) for skill in skills_of(newest)}


def printed(boards: dict[str, list[Rating]], width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None).print(competencies(boards, width))
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200, 400])
def test_no_number_is_cut_at_any_width(boards: dict[str, list[Rating]], width: int) -> None:
    shown = printed(boards, width)
    assert max(len(row.rstrip()) for row in shown.splitlines()) <= width
    expected = Counter(
        f"{rating.mean:+.1f} ± {1.644854 * rating.deviation:.1f}" for board in boards.values() for rating in board
    )
    assert Counter(VALUE.findall(shown)) == expected
    assert expected.total() == 30 * 7
    assert shown.count(" in 1 d") == 30
    assert len(re.findall(r" 0\.\d\d\b", shown)) == 30  # kinship


def test_at_80_columns_the_overall_table_comes_first_with_trend_and_kin(boards: dict[str, list[Rating]]) -> None:
    title, heads, *_rest = printed(boards, 80).splitlines()
    assert title == "competency, logits ± 90 % interval"
    assert heads.split() == ["model", "overall", "trend", "nearest", "kin"]
    assert "verdicts" in printed(boards, 80), "in a table below"


def test_groups_that_no_verdict_connects_are_named(boards: dict[str, list[Rating]]) -> None:
    file = io.StringIO()
    groups = [MODELS[:7], ["a", "b"]]
    Console(file=file, width=200, color_system=None).print(competencies(boards, 200, groups))
    said = file.getvalue()
    assert "No verdict connects these 2 groups, so the gaps between them are unknown:" in said
    assert f"{MODELS[4]} …" in said
    assert said.rstrip().endswith("a, b")
    assert "No verdict connects" not in printed(boards, 200)


def test_a_long_name_is_shortened_in_the_middle_and_keeps_its_end(boards: dict[str, list[Rating]]) -> None:
    shown = printed(boards, 80)
    for number in range(30):
        assert re.search(rf"^organiz.*….*-{number:02d} ", shown, re.MULTILINE)
    assert MODELS[0] in printed(boards, 400)


def test_after_failed_verdicts_it_says_why_there_are_no_ratings(tmp_path: Path) -> None:
    flow = Flow(Store(sqlite_file(tmp_path / "karma.db")), make_pool("ab"))
    environment = {"KARMA_HOME": str(tmp_path)}
    assert "no pair has been judged" in call("models", environment=environment).stderr
    flow.judge = partial(flow.judge, failure="unparsable verdict: 'A, of course'")  # type: ignore[method-assign]
    flow.accept({"prompt": "x"}, {"prompt": "y"})
    flow.finish()
    said = call("models", environment=environment).stderr
    assert "No ratings yet: 2 pairs unscored; judge j, 4 failed: unparsable verdict: 'A, of course'" in said
    assert "karma failures" in said
