"""The tie model finds what makes ties likely, and says nothing before it has seen enough pairs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from karma.ranking.snapshot import Snapshot
from karma.store.records import Example
from karma_scoring.fit.predictions.tie_fit import LEAST_EXAMPLES, TieExamples, fit_ties, tie_examples_of


def simulated(number: int, seed: int = 0) -> tuple[TieExamples, np.ndarray]:
    """Judged pairs, and the true P(tie) of each."""
    draws = np.random.default_rng(seed)
    competency = np.sort(draws.normal(0, 1.5, (number, 2)), axis=1)
    likeness, skill = draws.uniform(0, 1, number), draws.choice(["math", "code"], number)
    eta = -2.0 + 0.4 * competency[:, 1] + 0.8 * competency[:, 0] + 2.0 * likeness + 1.0 * (skill == "math")
    true = 1 / (1 + np.exp(-eta))
    return TieExamples(competency[:, 1], competency[:, 0], likeness, skill, draws.random(number) < true), true


def test_it_finds_the_probability_of_a_tie() -> None:
    examples, _ = simulated(3000)
    model = fit_ties(examples)
    assert model is not None
    test, true = simulated(500, seed=1)

    for skill in ("math", "code"):
        of = test.skill == skill
        found = model.probability(test.worse[of], test.better[of], test.likeness[of], skill)
        assert np.abs(found - true[of]).mean() < 0.03
    assert model.examples == 3000


@pytest.mark.parametrize(("number", "known"), [(LEAST_EXAMPLES - 1, False), (LEAST_EXAMPLES, True)])
def test_it_waits_for_enough_pairs(number: int, known: bool) -> None:
    assert (fit_ties(simulated(number)[0]) is not None) == known


@pytest.mark.parametrize("tied", [True, False])
def test_verdicts_of_one_kind_give_no_certainty(tied: bool) -> None:
    examples, _ = simulated(100)
    model = fit_ties(replace(examples, tied=np.full(100, tied)))
    assert model is not None

    found = model.probability(np.zeros(1), np.zeros(1), np.full(1, 0.5), "math")[0]
    assert 0.8 < (found if tied else 1 - found) < 1.0


def test_pairs_judged_before_a_model_changed_are_left_out() -> None:
    snapshot = replace(Snapshot.empty(["a", "b"], ["math"]), mean=np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 0.0]]))
    reasons = json.dumps({"likeness": 0.3})
    rows = [
        Example(n, "math", 1, 2, "a", "b", reasons, outcome, None, at)
        for n, (outcome, at) in enumerate([("tie", 1e9), ("inconsistent", 2e9), ("decisive", 2e9)])
    ]

    found = tie_examples_of(rows, snapshot, {"b": 7 * 10**8})
    everything = tie_examples_of(rows, snapshot, {})
    assert len(everything) == 3
    assert found.tied.tolist() == [True, False]
    assert (found.better.tolist(), found.worse.tolist()) == ([1.0, 1.0], [-2.0, -2.0])
    assert found.likeness.tolist() == [0.3, 0.3]
