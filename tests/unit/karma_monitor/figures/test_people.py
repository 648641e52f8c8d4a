"""Judges beside people: shares with intervals that hold, by certainty, and how many labels are missing."""

from __future__ import annotations

import numpy as np
import pytest

from karma_monitor.figures.intervals import wilson
from karma_monitor.figures.judges.people import (
    Compared,
    agreement,
    calibration,
    design_effect,
    judge_figures,
    labels_needed,
)
from tests.benchmarks.human_agreement import ACCURACIES, coverage


def compared(right: int, wrong: int, certainty: float = 0.9, skill: str = "") -> list[Compared]:
    agrees = [True] * right + [False] * wrong
    return [Compared(n, skill, certainty, each) for n, each in enumerate(agrees)]


@pytest.mark.parametrize("trials", [30, 100, 300])
def test_the_interval_contains_the_truth_in_about_95_of_100_streams(trials: int) -> None:
    covered = coverage(wilson, trials, np.array(ACCURACIES))
    assert min(covered) > 0.93 - 0.001
    assert max(covered) < 0.975
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)


def test_pairs_of_one_prompt_widen_the_interval() -> None:
    apart = compared(80, 20)
    together = [one._replace(prompt=n // 4) for n, one in enumerate(apart)]
    assert design_effect(apart) == 1.0
    assert design_effect(together) > 2.5
    assert agreement(together)["low"] < agreement(apart)["low"] < 0.8 < agreement(apart)["high"]
    assert agreement(together)["share"] == agreement(apart)["share"] == 0.8


def test_nothing_compared_has_no_share() -> None:
    assert agreement([]) == {"pairs": 0, "agreed": 0, "share": None, "low": None, "high": None, "design_effect": 1.0}


@pytest.mark.parametrize(("right", "wrong"), [(0, 0), (8, 2), (24, 6), (160, 40)])
def test_the_labels_needed_make_the_interval_as_narrow_as_wanted(right: int, wrong: int) -> None:
    given = compared(right, wrong)
    number = len(given) + labels_needed(given, 0.1)
    share = right / len(given) if given else 0.5
    for count, narrow in ((number, True), (number - 1, False)):
        low, high = wilson(share * count, count)
        assert (high - low <= 0.1) is narrow


def test_enough_labels_need_no_more() -> None:
    assert labels_needed(compared(900, 100), 0.1) == 0


def test_a_judge_that_is_surer_than_right_is_seen_in_its_bins() -> None:
    found = calibration(compared(60, 40, certainty=0.95) + compared(60, 40, certainty=0.6))
    assert [(one["from"], one["to"], one["pairs"], one["share"]) for one in found] == [
        (0.5, 0.6, 100, 0.6),
        (0.9, 1.0, 100, 0.6),
    ]
    assert found[1]["high"] < found[1]["certainty"]
    assert found[0]["low"] < found[0]["certainty"] < found[0]["high"]


def test_each_skill_has_its_agreement() -> None:
    found = judge_figures(compared(9, 1, skill="math") + compared(5, 5, skill="prose"), ties=3)
    assert {name: one["share"] for name, one in found["skills"].items()} == {"math": 0.9, "prose": 0.5}
    assert (found["pairs"], found["agreed"], found["ties"]) == (20, 14, 3)
