"""`karma models` keeps every number at any width: 30 models, 6 skills, with their intervals."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from karma.ranking.common_change import CommonChange
from karma.ranking.misfit import MisfitPair, PairFit
from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import to_bytes
from karma.store import Store
from karma_cli.commands.models import apart_lines, competencies
from karma_monitor.figures.models.leaderboard import Rating, leaderboard, skills_of
from tests.support.command import call
from tests.support.memory import Flow, make_pool
from tests.support.stores import sqlite_file
from tests.support.uncertain import TAIL

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


def test_groups_that_no_verdict_connects_are_named() -> None:
    cold = snapshot(1, 0.0)
    compared = np.zeros_like(cold.comparisons)
    for group in (range(7), range(7, 30)):
        for one, other in pairwise(group):
            compared[:, one, other] = compared[:, other, one] = 9.0
    head, first, second = "".join(map(str, apart_lines(replace(cold, comparisons=compared)))).splitlines()
    assert head == "No verdict connects these 2 groups, so the gaps between them are unknown:"
    assert (first.strip(), second.strip()) == (f"{', '.join(MODELS[:5])} …", f"{', '.join(MODELS[7:12])} …")
    assert apart_lines(cold) == []


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


def test_misfit_pairs_and_common_changes_are_named_below_the_tables(tmp_path: Path) -> None:
    """In text and as data; names are safe."""
    environment = {"KARMA_HOME": str(tmp_path), "COLUMNS": "200"}
    fit = PairFit((MisfitPair("rock", "sc\x1bissors", 0.9, 0.5, 8.0, 2.2),), 1e-9)
    common = (CommonChange(1.8e9, "scale", 20.0),)
    known = replace(Snapshot.empty(["rock", "sc\x1bissors"]), version=1, pair_fit=fit, common_changes=common)
    with closing(Store(sqlite_file(tmp_path / "karma.db"))) as store, store.transaction() as transaction:
        transaction.preferences.add_snapshot(1, 1.0, to_bytes(known))

    shown = " ".join(call("models", environment=environment).stdout.split())
    data = json.loads(call("models", "--json", environment=environment).stdout)
    (pair,), (change,) = data["misfit"]["pairs"], data["common_changes"]

    said = "rock won 90 % of the decisive verdicts against sc\\x1bissors, where their competencies expect 50 %"
    assert "Misfit: one competency per model does not explain the verdicts on 1 pair of models" in shown
    assert said in shown
    assert "2027-01-15 08:00 UTC: all gaps changed by one factor" in shown
    assert (change["kind"], change["at"]) == ("scale", 1.8e9)
    assert (pair["observed"], pair["expected"], pair["z"]) == (0.9, 0.5, 8.0)


def test_win_probabilities_that_are_not_known_to_hold_are_named(tmp_path: Path) -> None:
    environment = {"KARMA_HOME": str(tmp_path), "COLUMNS": "200"}
    known = replace(Snapshot.empty(["a", "b"]), version=1, win_tail=TAIL)
    with closing(Store(sqlite_file(tmp_path / "karma.db"))) as store, store.transaction() as transaction:
        transaction.preferences.add_snapshot(1, 1.0, to_bytes(known))

    shown = " ".join(call("models", environment=environment).stdout.split())
    bins = json.loads(call("models", "--json", environment=environment).stdout)["win_tail"]

    assert (
        "Win probabilities by competency, 5 ranges above 0.8: 0.9 to 0.95 unreliable (7.1% expected to be wrong"
        in shown
    )
    assert "3 unknown (verdicts cannot tell yet)" in shown
    assert [one["state"] for one in bins] == ["reliable", "unreliable", "unknown", "unknown", "unknown"]
