"""A probability near 1 is called reliable only if the verdicts show it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from karma.ranking.label_error import Audited
from karma.ranking.tail import FITTED, TOLERANCE, TailBin, label_tail
from tests.benchmarks.tail_errors import win_bins


def audited(error: float, number: int, stated: float = 0.97) -> list[Audited]:
    """Every 1/error-th is wrong."""
    return [Audited(0.03, int((one + 1) * error) > int(one * error), one, stated) for one in range(number)]


@pytest.mark.parametrize(
    ("error", "number", "state"),
    [(0.03, 2_000, "reliable"), (0.09, 2_000, "unreliable"), (0.03, 100, "unknown"), (0.09, 400, "unreliable")],
)
def test_a_bin_of_labels_is_what_its_audits_show(error: float, number: int, state: str) -> None:
    (found,) = label_tail(audited(error, number), 50_000)

    assert (found.low, found.high, found.number) == (0.95, 0.98, number)
    assert found.stated == pytest.approx(0.03)
    assert found.state == found.data()["state"] == state
    assert found.text().startswith("P 0.95 to 0.98: stated 3.0%")


def test_labels_below_the_first_edge_and_certain_pairs_are_in_no_bin() -> None:
    certain = Audited(1.0, True, 1, 0.99)
    assert label_tail([certain, Audited(0.03, True, 1, 0.5), Audited(0.03, False, 2)], 10) == ()
    (found,) = label_tail([Audited(0.03, False, 3, 0.0)], 10)
    assert (found.low, found.high) == (0.99, 1.0)


@pytest.mark.parametrize("judge", ["lapses 10 %", "15 % reversed"])
def test_where_the_tail_is_off_no_bin_is_called_reliable(judge: str) -> None:
    bins = [each for seed in range(4) for each in win_bins(judge, seed, 60_000)]
    off = [each for each in bins if abs(each.true - each.stated) > TOLERANCE]

    assert len(off) > 4
    assert all(each.state != "reliable" for each in off)
    assert np.mean([each.state == "unreliable" for each in off]) > 0.7


def test_where_the_competencies_are_right_the_tail_is_reliable() -> None:
    bins = [each for seed in range(4) for each in win_bins("as modeled", seed, 60_000)]

    assert np.mean([each.state == "reliable" for each in bins]) > 0.8


def test_fewer_errors_than_stated_show_nothing_where_the_same_verdicts_taught_the_probabilities() -> None:
    few = TailBin(0.8, 0.9, 0.147, 0.044, 0.015, 0.122, 68.0)
    assert few.state == "unreliable"
    assert (replace(few, fitted=True).state, replace(few, fitted=True).data()["why"]) == ("unknown", FITTED)
    many = replace(few, observed=0.2, observed_low=0.18, observed_high=0.22, fitted=True)
    assert (many.state, many.data()["why"]) == ("unreliable", "")


@pytest.mark.parametrize("verdicts", [330, 3_000])
def test_with_few_verdicts_a_skill_right_probabilities_are_not_called_unreliable(verdicts: int) -> None:
    states = Counter(each.state for seed in range(10) for each in win_bins("as modeled", seed, verdicts, skills=6))
    assert sum(states.values()) > 25
    assert states["unreliable"] <= 1
