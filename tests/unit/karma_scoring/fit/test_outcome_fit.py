"""The outcome model finds what generated the verdicts, is calibrated, and learns what siblings are worth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from karma.ranking.outcome_model import FEATURES, OutcomeModel, fit_effects, posterior_advantage
from karma.store.judge_budgets import BudgetedPair
from karma_scoring.fit.predictions.outcome_fit import LEAST_EXAMPLES, Examples, calibration_error, fit_outcome
from karma_scoring.predicted_labels import predict_labels


def simulate(prompts: int, pairs: int, responses: int, own: float, seed: int) -> tuple[Examples, np.ndarray]:
    """Verdicts with a known advantage: 0.8 × gap + 1.5 × the first feature + the responses' own effects."""
    rng = np.random.default_rng(seed)
    competency = rng.normal(0, 1, responses)
    rows = []
    for prompt in range(prompts):
        feature = rng.normal(0, 0.7, (responses, len(FEATURES)))
        effect = rng.normal(0, own, responses)
        everything = [(a, b) for a in range(responses) for b in range(a + 1, responses)]
        for place in rng.choice(len(everything), min(pairs, len(everything)), replace=False):
            a, b = everything[place]
            gap, difference = competency[a] - competency[b], feature[a] - feature[b]
            advantage = 0.8 * gap + 1.5 * difference[0] + effect[a] - effect[b]
            z = 2 * np.cosh(advantage / 2) + 0.4
            verdict = rng.choice([1, 0, -1], p=[np.exp(advantage / 2) / z, 0.4 / z, np.exp(-advantage / 2) / z])
            rows.append((gap, difference, f"m{a}", f"m{b}", verdict, prompt, prompt * 100 + a, prompt * 100 + b))
    gap, difference, a, b, verdict, prompt, first, second = zip(*rows, strict=True)
    examples = Examples(
        np.array(gap),
        np.array(difference),
        np.array(a),
        np.array(b),
        np.array(verdict, dtype=float),
        np.array(prompt),
        np.array(first),
        np.array(second),
    )
    return examples, competency


@pytest.fixture(scope="module")
def with_siblings() -> OutcomeModel:
    """Learnt from prompts with many verdicts, whose responses have effects of their own."""
    model = fit_outcome(simulate(150, 15, 8, 2.0, 2)[0])
    assert model is not None
    return model


@pytest.mark.parametrize("lapses", [0.0, 0.2])
def test_lapses_of_the_judge_are_found_and_are_zero_without_evidence(lapses: float) -> None:
    """Without them in the model, a pair of three logits would be stated as far more certain than it is."""
    examples, _ = simulate(2500, 3, 6, 0.0, 4)
    rng = np.random.default_rng(5)
    by_chance = rng.choice([-1.0, 1.0], len(examples))
    verdicts = np.where(rng.random(len(examples)) < lapses, by_chance, examples.outcome)

    model = fit_outcome(replace(examples, outcome=verdicts))

    assert model is not None
    assert model.lapse == pytest.approx(lapses, abs=0.06 if lapses else 0.0)
    certain = float(model.win(np.array([8.0]))[0])
    assert certain == pytest.approx(1.0 - lapses / 2, abs=0.03)
    assert model.win(model.advantage_at(np.array([0.3, 0.8]))) == pytest.approx([0.3, 0.8])


def test_the_fit_finds_what_generated_the_verdicts() -> None:
    examples, _ = simulate(2000, 3, 6, 0.0, 1)
    model = fit_outcome(examples)
    assert model is not None
    assert model.gap_weight == pytest.approx(0.8, abs=0.15)
    assert model.weights[0] == pytest.approx(1.5, abs=0.12)
    assert np.abs(model.weights[1:]).max() < 0.15
    assert model.tie == pytest.approx(0.4, abs=0.06)
    assert model.calibration_error < 0.03
    assert model.examples == len(examples)


def test_too_few_judged_pairs_make_no_model() -> None:
    examples, _ = simulate(LEAST_EXAMPLES // 3 - 1, 3, 4, 0.0, 1)
    assert fit_outcome(examples) is None


def test_siblings_are_learned_where_responses_have_effects_of_their_own(with_siblings: OutcomeModel) -> None:
    """Held-out pairs of prompts with many verdicts are predicted better with them than without."""
    model = with_siblings
    assert model.siblings is not None
    fresh, _ = simulate(60, 20, 8, 2.0, 2)  # the same competencies, as the seed is the same
    advantage = model.advantage(fresh.gap, fresh.relative_features, fresh.models_a.tolist(), fresh.models_b.tolist())
    right_alone = right_told = asked = 0
    for prompt in np.unique(fresh.prompt)[:60]:
        group = np.flatnonzero(fresh.prompt == prompt)
        first, second = fresh.response_a[group] % 100, fresh.response_b[group] % 100
        known = np.arange(0, len(group), 2)
        after = posterior_advantage(
            model.siblings, model.tie, advantage[group], first, second, known, fresh.outcome[group][known]
        )
        hidden = np.setdiff1d(np.arange(len(group)), known)
        hidden = hidden[fresh.outcome[group][hidden] != 0]
        truth = fresh.outcome[group][hidden]
        right_alone += (np.sign(advantage[group][hidden]) == truth).sum()
        right_told += (np.sign(after[hidden]) == truth).sum()
        asked += len(hidden)
    assert right_told / asked > right_alone / asked + 0.05


def test_pairs_that_share_no_responses_teach_nothing_about_siblings() -> None:
    examples, _ = simulate(400, 1, 6, 1.0, 3)
    model = fit_outcome(examples)
    assert model is not None
    assert model.siblings is None


def test_effects_are_those_of_a_numerical_optimum() -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    first, second = np.array([0, 1, 2, 0, 3]), np.array([1, 2, 0, 3, 2])
    advantage, outcome = rng.normal(0, 1, 5), np.array([1.0, 0.0, -1.0, 1.0, 1.0])

    def loss(u: np.ndarray) -> float:
        eta = advantage + u[first] - u[second]
        return float(np.sum(np.log(2 * np.cosh(eta / 2) + 0.5) - 0.5 * outcome * eta) + u @ u / 6.0)

    found, _covariance = fit_effects(advantage, first, second, outcome, 0.5, 3.0)
    assert found == pytest.approx(minimize(loss, np.zeros(4), tol=1e-10).x, abs=1e-4)


def test_a_model_survives_the_snapshots_json(with_siblings: OutcomeModel) -> None:
    stored = with_siblings.to_dict()
    assert OutcomeModel.from_dict(json.loads(json.dumps(stored))).to_dict() == stored


def test_an_audited_pair_is_predicted_without_its_own_verdict(with_siblings: OutcomeModel) -> None:
    def audited(chosen: int) -> float:
        pairs = [
            BudgetedPair(1, 1, 10, 11, 1, 1.0, 0.5, "decisive", 10),
            BudgetedPair(2, 1, 11, 12, 1, 1.0, 0.5, "decisive", 11),
            BudgetedPair(3, 1, 10, 12, 1, 0.03, 0.5, "decisive", chosen),
            BudgetedPair(4, 1, 10, 13, 0, 0.03, 0.6, None, None),
        ]
        labels = {pair.id: probability for pair, probability in predict_labels(pairs, with_siblings)}
        assert set(labels) == {3, 4}
        return labels[3]

    assert audited(10) == audited(12) > 0.6


def test_without_a_model_the_prediction_is_the_first_one() -> None:
    unjudged = BudgetedPair(1, 1, 10, 11, 0, 0.5, 0.7, None, None)
    judged = BudgetedPair(2, 1, 10, 12, 1, 1.0, 0.4, "decisive", 10)
    assert predict_labels([unjudged, judged], None) == [(unjudged, 0.7)]


def test_calibration_error_is_zero_for_the_truth_and_large_for_bragging() -> None:
    rng = np.random.default_rng(1)
    probability = rng.random(50_000)
    came_true = rng.random(50_000) < probability
    assert calibration_error(probability, came_true) < 0.01
    assert calibration_error(np.where(probability > 0.5, 0.99, 0.01), came_true) > 0.2
