"""The label model finds what makes ties likely and what support says, and nothing before it has seen enough pairs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from karma.ranking.label_model import LabelModel, PairSigns
from karma.ranking.snapshot import Snapshot
from karma.store.records import Example
from karma_scoring.fit.predictions.label_fit import LEAST_EXAMPLES, LabelExamples, fit_labels, label_examples_of


def sigmoid(eta: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-eta))


def simulated(number: int, seed: int = 0, support: float = 3.0) -> tuple[LabelExamples, np.ndarray, np.ndarray]:
    """Judged pairs, and the true P(tie) and P(a better | decisive) of each."""
    draws = np.random.default_rng(seed)
    a, b = draws.normal(0, 1.5, (2, number))
    signs = PairSigns(*draws.uniform(0, 1, (4, number)))
    skill = draws.choice(["math", "code"], number)
    win = sigmoid(a - b)
    of_better = np.where(a >= b, signs.support_a, signs.support_b)
    eta = 1.0 + 0.4 * np.maximum(a, b) + 0.8 * np.minimum(a, b) + 2.0 * signs.likeness + 1.0 * (skill == "math")
    tied = sigmoid(eta - 4.0 * of_better)
    side = sigmoid(a - b + support * (signs.support_a - signs.support_b))
    outcome = np.where(draws.random(number) < tied, 0.0, np.where(draws.random(number) < side, 1.0, -1.0))
    return LabelExamples(a, b, win, signs, skill, outcome), tied, side


def predicted(model: LabelModel, test: LabelExamples) -> tuple[np.ndarray, np.ndarray]:
    ties = np.empty(len(test))
    for skill in ("math", "code"):
        of = test.skill == skill
        signs = PairSigns(**{name: column[of] for name, column in vars(test.signs).items()})
        ties[of] = model.tie_probability(test.competency_a[of], test.competency_b[of], signs, skill)
    return ties, model.win_probability(test.win, test.signs)


def test_it_finds_the_probabilities_of_a_tie_and_of_a_side() -> None:
    model = fit_labels(simulated(4000)[0])
    assert model is not None
    test, tied, side = simulated(500, seed=1)

    ties, win = predicted(model, test)
    assert np.abs(ties - tied).mean() < 0.03
    assert np.abs(win - side).mean() < 0.03
    assert model.examples == 4000


def test_support_counts_only_as_far_as_verdicts_show_it() -> None:
    model = fit_labels(simulated(4000, support=0.0)[0])
    assert model is not None

    assert abs(model.support) < 0.35


def test_few_verdicts_give_no_certainty_of_no_tie() -> None:
    """At the likeliest weights half as many ties are foreseen as there are among the pairs without one in sight."""
    ratios = []
    for seed in range(20):
        model = fit_labels(simulated(60, seed)[0])
        assert model is not None
        test, tied, _ = simulated(1000, seed + 100)
        ties, _ = predicted(model, test)
        safe = ties < 0.2
        ratios.append(ties[safe].mean() / tied[safe].mean())
        naive, _ = predicted(replace(model, covariance=tuple((0.0,) * len(row) for row in model.covariance)), test)
        assert naive[safe].mean() < ties[safe].mean()
    assert 0.75 < np.mean(ratios) < 1.25


@pytest.mark.parametrize(("number", "known"), [(LEAST_EXAMPLES - 1, False), (LEAST_EXAMPLES, True)])
def test_it_waits_for_enough_pairs(number: int, known: bool) -> None:
    assert (fit_labels(simulated(number)[0]) is not None) == known


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_verdicts_of_one_kind_give_no_certainty(outcome: float) -> None:
    examples, *_ = simulated(100)
    model = fit_labels(replace(examples, outcome=np.full(100, outcome)))
    assert model is not None

    signs = PairSigns(*np.full((4, 1), 0.5))
    found = model.tie_probability(np.zeros(1), np.zeros(1), signs, "math")[0]
    assert 0.8 < (found if outcome == 0.0 else 1 - found) < 1.0


def test_a_skill_without_a_verdict_is_less_certain() -> None:
    model = fit_labels(simulated(400)[0])
    assert model is not None
    signs = PairSigns(*np.full((4, 1), 0.9))

    known, unknown = (
        model.tie_probability(np.full(1, -2.0), np.full(1, -3.0), signs, skill)[0] for skill in ("code", "law")
    )
    assert known < unknown < 0.5


def test_pairs_judged_before_a_model_changed_are_left_out() -> None:
    snapshot = replace(Snapshot.empty(["a", "b"], ["math"]), mean=np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 0.0]]))
    reasons = json.dumps({"likeness": 0.3, "agreement": 0.4, "support": [0.5, 0.6]})
    rows = [
        Example(n, "math", 1, 2, "a", "b", reasons, outcome, chosen, at)
        for n, (outcome, chosen, at) in enumerate(
            [("tie", None, 1e9), ("inconsistent", None, 2e9), ("decisive", 1, 2e9), ("decisive", 2, 2e9)]
        )
    ]

    found = label_examples_of(rows, snapshot, {"b": 7 * 10**8})
    everything = label_examples_of(rows, snapshot, {})
    assert len(everything) == 4
    assert found.outcome.tolist() == [0.0, 1.0, -1.0]
    assert (found.competency_a.tolist(), found.competency_b.tolist()) == ([1.0] * 3, [-2.0] * 3)
    assert [column[0] for column in vars(found.signs).values()] == [0.3, 0.4, 0.5, 0.6]


def test_pairs_without_signs_are_left_out() -> None:
    """Those of an earlier version, and of streams that label nothing because they are sure."""
    rows = [Example(1, None, 1, 2, "a", "b", json.dumps({"likeness": 0.3}), "tie", None)]

    assert len(label_examples_of(rows, Snapshot.empty(["a", "b"], []), {})) == 0
