"""The competency posterior, against independent implementations and against simulated truth."""

import itertools
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from karma_gateway.planning import PlannedPrompt, plan
from karma_scoring.fit.competency import Counts, Prior, fit
from karma_scoring.fit.kinship import snapshot

Array = NDArray[np.float64]

NO_TIES = Prior(alpha_deviation=1.3, log_tie_mean=-30.0, log_tie_deviation=1e-3)


def counts(rows: list[tuple[int, int, int, float, float, float]]) -> Counts:
    """From rows of skill, first, second, wins of the first, wins of the second, ties."""
    table = np.array(rows, dtype=float).reshape(-1, 6)
    indices = table[:, :3].astype(np.int64)
    return Counts(indices[:, 0], indices[:, 1], indices[:, 2], table[:, 3], table[:, 4], table[:, 5])


def simulated(theta: Array, tie: float, pairs: NDArray[np.int64], rng: np.random.Generator) -> Counts:
    """Verdicts by Davidson's model; `theta` is [S, M], `pairs` [n, 3] of skill, first, second."""
    skill, first, second = pairs.T
    gap = theta[skill, first] - theta[skill, second]
    z = 2.0 * np.cosh(gap / 2.0) + tie
    draws = rng.random(len(pairs))
    won, lost = np.exp(gap / 2.0) / z, np.exp(-gap / 2.0) / z
    wins, losses = draws < won, draws >= 1.0 - lost
    return Counts(skill, first, second, wins.astype(float), losses.astype(float), (~wins & ~losses).astype(float))


def random_pairs(number: int, skills: int, models: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Uniform skills and different models."""
    first = rng.integers(models, size=number)
    second = (first + rng.integers(1, models, size=number)) % models
    return np.column_stack([rng.integers(skills, size=number), first, second])


def test_decisive_verdicts_give_the_ratings_of_choix() -> None:
    """Same likelihood, same ridge: `opt_pairwise` minimises −log P + alpha Σ θ²."""
    import choix

    rng = np.random.default_rng(1)
    truth = rng.normal(0, 1, (1, 7))
    pairs = random_pairs(400, 1, 7, rng)
    verdicts = simulated(truth, 0.0, pairs, rng)
    wins = [(i, j) if won else (j, i) for (_, i, j), won in zip(pairs, verdicts.wins_first, strict=True)]
    expected = choix.opt_pairwise(7, wins, alpha=0.5 / NO_TIES.alpha_deviation**2, tol=1e-10)

    unlabelled = replace(verdicts, skill=np.full(400, -1))
    found = fit(unlabelled, list("abcdefg"), [], NO_TIES)

    np.testing.assert_allclose(found.mean[0, :7], expected - expected.mean(), atol=1e-3)


def brute_force(verdicts: Counts, models: int, skills: int, prior: Prior) -> tuple[Array, Array, float, Array]:
    """α, δ, log ν and the inverse Hessian, by a general optimiser on the plainly written log posterior."""
    from scipy.optimize import minimize

    def negative_log_posterior(x: Array) -> float:
        alpha, delta, log_tie = x[:models], x[models:-1].reshape(skills, models), x[-1]
        total = np.sum(alpha**2) / prior.alpha_deviation**2 + np.sum(delta**2) / prior.delta_deviation**2
        total = 0.5 * (total + ((log_tie - prior.log_tie_mean) / prior.log_tie_deviation) ** 2)
        for s, i, j, wins, losses, ties in zip(
            verdicts.skill,
            verdicts.first,
            verdicts.second,
            verdicts.wins_first,
            verdicts.wins_second,
            verdicts.ties,
            strict=True,
        ):
            a, b = alpha[i], alpha[j]
            if s >= 0:
                a, b = a + delta[s, i], b + delta[s, j]
            tied = np.exp(log_tie + (a + b) / 2)
            norm = np.log(np.exp(a) + np.exp(b) + tied)
            total -= wins * (a - norm) + losses * (b - norm) + ties * (log_tie + (a + b) / 2 - norm)
        return float(total)

    size = models * (1 + skills) + 1
    found = minimize(negative_log_posterior, np.zeros(size), method="BFGS", options={"gtol": 1e-8, "maxiter": 5000}).x
    step, hessian = 1e-3, np.empty((size, size))
    for r, c in itertools.product(range(size), repeat=2):
        er, ec = np.eye(size)[r] * step, np.eye(size)[c] * step
        corners = [found + er + ec, found + er - ec, found - er + ec, found - er - ec]
        values = [negative_log_posterior(corner) for corner in corners]
        hessian[r, c] = (values[0] - values[1] - values[2] + values[3]) / (4 * step * step)
    return (
        found[:models],
        found[models:-1].reshape(skills, models),
        float(found[-1]),
        np.asarray(np.linalg.inv(hessian), dtype=np.float64),
    )


def test_means_and_covariances_are_those_of_a_brute_force_optimiser() -> None:
    """With ties, two skills, and prompts without a skill."""
    rows = [(0, 0, 1, 5.0, 2.0, 1.5), (0, 1, 2, 3.0, 3.0, 2.0), (1, 0, 2, 1.0, 6.0, 0.0), (1, 2, 1, 2.5, 1.0, 1.0)]
    verdicts = counts([*rows, (-1, 0, 1, 2.0, 1.0, 1.0)])
    alpha, delta, log_tie, covariance = brute_force(verdicts, 3, 2, Prior())
    share = np.array([16.5, 11.5]) / 32.0  # of the 32 comparisons; 4 are without a skill
    rows_of = [np.append(share, 0.0), np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])]

    found = fit(verdicts, ["a", "b", "c"], ["x", "y"], Prior())

    assert found.log_tie == pytest.approx([log_tie], abs=1e-4)
    centre = np.eye(3) - 1 / 3
    for row, weights in enumerate(rows_of):
        theta = alpha + weights[:2] @ delta
        functional = np.concatenate(
            [np.eye(3), weights[0] * np.eye(3), weights[1] * np.eye(3), np.zeros((3, 1))], axis=1
        )
        np.testing.assert_allclose(found.mean[row, :3], centre @ theta, atol=1e-4)
        expected = centre @ functional @ covariance @ functional.T @ centre
        np.testing.assert_allclose(found.covariance[row, :3, :3], expected, atol=1e-4)


def matched(theta: Array, tie: float, policy: str, number: int, rng: np.random.Generator) -> Counts:
    """Verdicts on `number` prompts, planned 50 at a time by the gateway under what was learned from those before."""
    skills, models = theta.shape
    names, labels = [f"m{m}" for m in range(models)], [f"s{s}" for s in range(skills)]
    verdicts = counts([])
    while len(verdicts.skill) < number:
        known = snapshot(fit(verdicts, names, labels, Prior()), version=1)
        asked = rng.integers(skills, size=50)
        prompts = [PlannedPrompt(int(rng.integers(1 << 62)), labels[skill]) for skill in asked]
        answers = plan(prompts, names, policy, 2, known, explore_share=1.0 if policy == "informative" else 0.1)
        pairs = [[names.index(first), names.index(second)] for (first, _), (second, _) in answers]
        new = simulated(theta, tie, np.column_stack([asked, pairs]), rng)
        columns = [np.append(getattr(verdicts, field.name), getattr(new, field.name)) for field in fields(Counts)[:6]]
        verdicts = Counts(*columns)
    return verdicts


@pytest.mark.parametrize(("policy", "tie"), [("random", 0.05), ("random", 0.6), ("kin", 0.6), ("informative", 0.6)])
def test_ninety_percent_intervals_hold_the_truth_nine_times_in_ten(policy: str, tie: float) -> None:
    """Gaps per skill and overall, over truths drawn from the prior: 85 to 95 %.

    Also where what was learned chose what to compare next: the nearest kin, or what is least known.
    """
    rng, prior, held = np.random.default_rng(7), Prior(), []
    for _ in range({"random": 120, "kin": 40}.get(policy, 60)):
        alpha = rng.normal(0, prior.alpha_deviation, 6)
        truth = alpha + rng.normal(0, prior.delta_deviation, (3, 6))
        if policy == "random":
            verdicts = simulated(truth, tie, random_pairs(250, 3, 6, rng), rng)
        else:
            verdicts = matched(truth, tie, policy, 250, rng)
        found = fit(verdicts, list("abcdef"), list("xyz"), prior)
        # The overall competency is over the skills seen, by their shares.
        shares = np.bincount(verdicts.skill, minlength=3) / len(verdicts.skill)
        truths = np.append(shares[None, :] @ truth, truth, axis=0)
        for i, j in itertools.combinations(range(6), 2):
            contrast = np.eye(7)[i] - np.eye(7)[j]
            deviation = np.sqrt(np.einsum("a,rab,b->r", contrast, found.covariance, contrast))
            error = found.mean @ contrast - truths @ contrast[:6]
            held.append(np.abs(error) < 1.645 * deviation)

    covered = np.array(held).mean(axis=0)

    assert (covered >= 0.85).all() and (covered <= 0.95).all(), covered


def test_ties_teach_how_often_verdicts_tie() -> None:
    """Davidson's ν is learned: equal models that tie in half of 1,000 verdicts have P(tie) = ν / (2 + ν) = 1/2."""
    found = fit(counts([(-1, 0, 1, 250, 250, 500)]), ["a", "b"], [], Prior())

    assert np.exp(found.log_tie) == pytest.approx([2.0], rel=0.02)


def test_a_skill_without_verdicts_reads_like_the_models_other_skills() -> None:
    """Its mean is that of α, its deviation wider than the seen skill's."""
    found = fit(counts([(0, 0, 1, 30, 5, 0)]), ["a", "b"], ["seen", "unseen"], Prior())

    assert 0 < found.mean[2, 0] < found.mean[1, 0]
    assert found.covariance[2, 0, 0] > found.covariance[1, 0, 0]


def test_a_child_starts_where_its_parent_is_with_a_wider_deviation() -> None:
    """Like father, like son, in every skill; a model without a parent starts at the pool's prior."""
    verdicts = counts([(0, 0, 1, 40, 4, 2), (1, 0, 1, 10, 30, 2)])
    prior = Prior(parents={"child": "father"})

    found = fit(verdicts, ["father", "other", "child", "orphan"], ["x", "y"], prior)

    np.testing.assert_allclose(found.mean[:, 2], found.mean[:, 0], atol=1e-6)
    assert (found.covariance[:, 2, 2] > found.covariance[:, 0, 0]).all()
    assert (found.covariance[:, 2, 2] < found.covariance[:, 3, 3]).all()


def test_parents_in_a_circle_are_refused() -> None:
    """The error names the circle."""
    with pytest.raises(ValueError, match="a → b → a"):
        fit(counts([]), ["a", "b"], [], Prior(parents={"a": "b", "b": "a"}))


def test_benchmarks_move_a_model_until_verdicts_speak() -> None:
    """A prior mean counts fully without verdicts and little after many."""
    prior = Prior(mean={"a": 1.0, "b": -1.0})

    before = fit(counts([]), ["a", "b"], [], prior)
    after = fit(counts([(-1, 0, 1, 50, 150, 0)]), ["a", "b"], [], prior)

    np.testing.assert_allclose(before.mean[0, :2], [1.0, -1.0])
    assert after.mean[0, 0] < 0 < after.mean[0, 1]


def test_a_start_from_an_earlier_posterior_ends_at_the_same_maximum() -> None:
    """In fewer steps, though a model and a skill are new."""
    rng = np.random.default_rng(3)
    verdicts = simulated(rng.normal(0, 1, (2, 5)), 0.5, random_pairs(300, 2, 5, rng), rng)
    earlier = fit(verdicts, list("abcde"), ["x", "y"], Prior())

    cold = fit(verdicts, list("abcdef"), ["x", "y", "z"], Prior())
    warm = fit(verdicts, list("abcdef"), ["x", "y", "z"], Prior(), start=earlier)

    np.testing.assert_allclose(warm.mean, cold.mean, atol=1e-5)
    assert warm.steps < cold.steps


def test_a_lopsided_record_has_a_finite_competency() -> None:
    """A million wins and no loss; nothing overflows."""
    found = fit(counts([(0, 0, 1, 1e6, 0, 0)]), ["a", "b"], ["x"], Prior())

    assert np.isfinite(found.mean).all() and np.isfinite(found.covariance).all()
    assert found.mean[0, 0] > 3.0


def test_nothing_to_learn_from_gives_the_prior() -> None:
    """No counts, no models, or only comparisons of a model with itself."""
    nothing = fit(counts([]), [], [], Prior())
    itself = fit(counts([(0, 0, 0, 5, 5, 5)]), ["a"], ["x"], Prior())

    assert nothing.mean.shape == (1, 1)
    assert itself.comparisons.sum() == 0.0
    np.testing.assert_allclose(itself.unseen_deviation, [1.4, np.hypot(1.4, 0.5)])


def test_an_index_out_of_range_is_refused() -> None:
    """The error says what was found and what there is."""
    with pytest.raises(ValueError, match="skills 2 to 2 and models 0 to 1, but there are 1 skills"):
        fit(counts([(2, 0, 1, 1, 0, 0)]), ["a", "b"], ["x"], Prior())


def test_a_first_tie_of_models_far_apart_overflows_nothing() -> None:
    """The likelihood of their ν is nearly flat where the search begins, so that a whole Newton step is huge."""
    index = np.array([0])
    won = Counts(np.array([-1]), index, index + 1, np.array([1e7]), np.zeros(1), np.zeros(1))
    before = fit(won, ["a", "b"], [], Prior(alpha_deviation=20.0))
    tied = Counts(
        index - 1, index, index + 1, np.zeros(1), np.zeros(1), np.array([1e6]), source=index, sources=("probe",)
    )

    with np.errstate(over="raise", invalid="raise"):
        after = fit(tied, ["a", "b"], [], Prior(alpha_deviation=20.0), before)

    cold = fit(tied, ["a", "b"], [], Prior(alpha_deviation=20.0))
    np.testing.assert_allclose(after.mean, cold.mean, atol=1e-3)
