"""The competencies as people read them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from karma.ranking.snapshot import KIN_COMPARISONS, Snapshot
from karma_monitor.figures.models.leaderboard import TREND_S, leaderboard


def snapshot(means: dict[str, float], version: int = 1) -> Snapshot:
    """Models of these overall and writing means, deviation 0.5, no kinship known."""
    cold = Snapshot.empty(list(means), ["writing"], deviation=0.5)
    mean = cold.mean.copy()
    mean[:, : len(means)] = list(means.values())
    return replace(cold, version=version, mean=mean)


def test_the_best_come_first_with_their_90_per_cent_interval() -> None:
    best, worst = leaderboard(snapshot({"low": -1.0, "high": 1.0}), "overall")
    assert (best.model, worst.model) == ("high", "low")
    assert (best.low, best.high) == pytest.approx((1.0 - 0.8224, 1.0 + 0.8224), abs=1e-4)


def test_unknown_kinship_is_no_kin_and_never_a_number() -> None:
    assert all((one.kin, one.kinship) == (None, None) for one in leaderboard(snapshot({"a": 0.0, "b": 0.1}), "overall"))


def test_the_nearest_kin_is_the_one_of_greatest_known_kinship_and_not_the_model_itself() -> None:
    known = snapshot({"a": 0.0, "b": 0.1, "c": 1.0})
    kinship = known.kinship.copy()
    kinship[0, :3, :3] = [[1.0, 0.7, np.nan], [0.7, 1.0, 0.2], [np.nan, 0.2, 1.0]]
    compared = np.full_like(known.comparisons, KIN_COMPARISONS)
    known = replace(known, kinship=kinship, comparisons=compared)
    found = {one.model: (one.kin, one.kinship) for one in leaderboard(known, "overall")}
    assert found == {"a": ("b", 0.7), "b": ("a", 0.7), "c": ("b", 0.2)}
    compared[0, 0, 1] = compared[0, 1, 0] = KIN_COMPARISONS - 1
    assert leaderboard(known, "overall")[-1].kin is None


def test_a_model_that_is_certainly_far_from_all_others_has_no_kin() -> None:
    known = snapshot({"a": 0.0, "b": 3.0})
    kinship = np.full_like(known.kinship, 0.004)
    known = replace(known, kinship=kinship, comparisons=np.full_like(known.comparisons, KIN_COMPARISONS))
    assert [(one.kin, one.kinship) for one in leaderboard(known, "overall")] == [(None, 0.004)] * 2


def test_the_change_is_held_against_the_competency_of_a_day_ago() -> None:
    now = 10 * TREND_S
    moments = [(now - 3 * TREND_S, 0.0), (now - 1.5 * TREND_S, 0.2), (now - 100.0, 0.9), (now, 1.0)]
    course = [(at, number, snapshot({"a": mean}, number)) for number, (at, mean) in enumerate(moments, start=1)]
    (one,) = leaderboard(course[-1][2], "overall", course)
    assert (one.change, one.change_s) == pytest.approx((0.8, 1.5 * TREND_S))
    assert one.sparkline == "▁▂██"


def test_a_younger_model_is_held_against_its_own_first_competency() -> None:
    course = [(0.0, 1, snapshot({"a": 0.0})), (60.0, 2, snapshot({"a": 0.0, "b": 1.0})),
              (120.0, 3, snapshot({"a": 0.0, "b": 1.5}))]  # fmt: skip
    found = {one.model: one for one in leaderboard(course[-1][2], "overall", course)}
    assert (found["b"].change, found["b"].change_s) == (0.5, 60.0)
    assert (found["a"].change, found["a"].change_s) == (0.0, 120.0)


def test_a_model_seen_once_has_no_trend() -> None:
    only = snapshot({"a": 0.0})
    (one,) = leaderboard(only, "overall", [(0.0, 1, only)])
    assert (one.change, one.sparkline) == (None, "")


def test_each_has_its_effective_number_of_verdicts_and_its_chance_against_the_next() -> None:
    known = snapshot({"a": 0.0, "b": 2.0, "c": 1.0})
    win, compared = known.win.copy(), known.comparisons.copy()
    win[0, 1, 2], win[0, 2, 0] = 0.7, 0.6
    compared[0, [0, 1, 2, 2], [1, 0, 1, 0]] = [4.5, 4.5, 0.5, 0.25]
    found = leaderboard(replace(known, win=win, comparisons=compared), "overall")
    assert [(one.model, one.comparisons, one.beats_next) for one in found] == [
        ("b", 4.5, 0.7),
        ("c", 0.75, 0.6),
        ("a", 4.5, None),
    ]


def test_a_chance_against_a_model_of_another_group_is_unknown() -> None:
    known = snapshot({"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0, "new": 4.0})
    compared = known.comparisons.copy()
    for one, other in ((0, 2), (1, 3)):
        compared[0, one, other] = compared[0, other, one] = 9.0
    apart = replace(known, comparisons=compared)
    assert apart.groups == (("a", "c"), ("b", "d"))
    found = {one.model: one.beats_next for one in leaderboard(apart, "overall")}
    assert found == {"new": 0.5, "d": None, "c": None, "b": None, "a": None}


def test_without_a_model_there_is_no_ladder() -> None:
    assert leaderboard(Snapshot.empty(), "overall") == []
