"""Sources of verdicts: verdicts without a side come at rates of their own, and two orders say more than one."""

from __future__ import annotations

import numpy as np
import pytest

from karma.ranking.verdict_sources import JUDGE, PROBE
from karma_scoring.fit.competency import Counts, Prior, fit
from karma_scoring.fit.kinship import snapshot
from tests.benchmarks.hard_verdicts import (
    davidson,
    falsely_changed,
    independent_orders,
    orders,
    repeated_orders,
    tie_rates,
)


def test_intervals_hold_where_a_verifier_ties_often_and_a_judge_hardly_ever() -> None:
    """With one tie parameter for both, intervals for 90 % hold 24 % of the gaps in the judge's skill."""
    mean, _error = tie_rates(3_000, 20, labeled=True)

    assert (mean[:, 0] > 0.82).all(), mean
    assert (np.abs(mean[:, 1] - 1.0) < 0.05).all(), mean


def test_no_model_seems_to_have_changed_where_a_verifier_takes_over_from_a_judge() -> None:
    """With one tie parameter for both, about half of the models do."""
    assert falsely_changed(3) == 0


@pytest.mark.parametrize("bias", [0.0, 1.5])
def test_contradictions_of_two_orders_are_verdicts_without_a_side(bias: float) -> None:
    """Dropped, they make gaps 1.9 times too large and near pairs worth 0.8 bit."""
    mean, _error = orders(independent_orders(bias), 5)
    _covered, slope, said, true, near, far, _decisive = mean

    assert slope == pytest.approx(1.0, abs=0.1)
    assert said == pytest.approx(true, abs=0.03)
    assert max(near, far) < 0.05


def test_a_second_verdict_that_repeats_the_first_says_no_more() -> None:
    mean, _error = orders(repeated_orders, 5)

    assert mean[1] == pytest.approx(1.0, abs=0.05)


def test_information_follows_the_sources_of_a_skill() -> None:
    """What a verdict tells of equal models is P(decisive); of all skills, by the sources' shares of the verdicts."""
    number, ties = np.array([500.0, 1500.0]), np.array([3.0, 0.04])
    tied = number * davidson_ties(ties)
    half, zeros = (number - tied) / 2, np.zeros(2, dtype=int)
    counts = Counts(np.arange(2), zeros, zeros + 1, half, half, tied, source=np.arange(2), sources=(PROBE, JUDGE))

    found = snapshot(fit(counts, ["a", "b"], ["facts", "chat"], Prior()), 1)

    decisive = 1.0 - davidson_ties(ties)
    expected = [float(decisive @ [0.25, 0.75]), *decisive]
    assert found.information[:, 0, 1] == pytest.approx(expected, abs=0.02)
    assert [float(found.decisive(np.zeros(1), skill)[0]) for skill in (None, "facts", "chat")] == pytest.approx(
        expected, abs=0.02
    )
    assert float(found.decisive(np.zeros(1), None, PROBE)[0]) == pytest.approx(decisive[0], abs=0.02)
    assert found.tie / (2.0 + found.tie) == pytest.approx(1.0 - expected[0], abs=0.02)


def davidson_ties(ties: np.ndarray) -> np.ndarray:
    return np.array([davidson(float(tie))(np.zeros(1))[1][0] for tie in ties])
