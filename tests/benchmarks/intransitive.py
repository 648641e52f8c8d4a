"""Models that beat each other in a circle, as rock, paper and scissors do: a case of `hard_cases`."""

from __future__ import annotations

import numpy as np

from karma.ranking.davidson import tie_probability, win_given_decisive
from karma.ranking.snapshot import Snapshot
from karma_scoring.fit.competency import Counts, Prior
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.pair_residuals import pair_fit
from karma_scoring.fit.prior_scale import fit_with_learned_scale
from tests.benchmarks.finding import Finding
from tests.benchmarks.hard_pools import Array

_TIE = 0.2  # Davidson's ν of the simulated judge
#: Each of three models beats the next in 90 % of the decisive verdicts.
CIRCLE = 2.2 * np.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])


def learned(gaps: Array, verdicts: int, rng: np.random.Generator) -> Snapshot:
    """The snapshot after verdicts on random pairs of models.

    Args:
        gaps: of the row's model over the column's, per skill, logits, [S, M, M]; for S = 1 prompts have no skill.
        verdicts: their number.
        rng: draws pairs and verdicts.
    """
    skills, models = gaps.shape[:2]
    skill, one = rng.integers(skills, size=verdicts), rng.integers(models, size=verdicts)
    other = (one + rng.integers(1, models, size=verdicts)) % models
    gap = gaps[skill, one, other]
    tied, win = tie_probability(gap, _TIE), win_given_decisive(gap)
    drawn = rng.random(verdicts)
    outcomes = [drawn >= 1 - (1 - tied) * win, (drawn >= tied) & (drawn < 1 - (1 - tied) * win), drawn < tied]
    row = skill if skills > 1 else np.full(verdicts, -1)
    counts = Counts(row, one, other, *(outcome.astype(np.float64) for outcome in outcomes))
    labels = [f"s{number}" for number in range(skills)] if skills > 1 else []
    posterior = fit_with_learned_scale(counts, [f"m{number:03d}" for number in range(models)], labels, Prior())
    return snapshot(posterior, 1, pair_fit=pair_fit(counts, posterior))


def circles(verdicts: int, pools: int, seed: int) -> list[Snapshot]:
    """Pools of three models that beat each other in a circle."""
    return [learned(CIRCLE[None], verdicts, np.random.default_rng([seed, pool])) for pool in range(pools)]


def circle_among_others(verdicts: int, pools: int, seed: int) -> tuple[float, int]:
    """Seven further models that follow the model: the share of pools with a misfit, and pairs wrongly called one."""
    flagged, wrong, circle = 0, 0, {"m000", "m001", "m002"}
    for pool in range(pools):
        rng = np.random.default_rng([seed, pool])
        theta = np.where(np.arange(10) < 3, 0.0, rng.normal(0, 1.0, 10))
        gaps = theta[:, None] - theta[None, :]
        gaps[:3, :3] = CIRCLE
        found = learned(gaps[None], verdicts, rng).pair_fit.misfit
        flagged += bool(found)
        wrong += sum(not {pair.model_a, pair.model_b} <= circle for pair in found)
    return flagged / pools, wrong


def true_to_the_model(models: int, skills: int, verdicts: int, deviation: float, pools: int, seed: int) -> int:
    """How many of so many pools whose verdicts follow one competency per model have a misfit pair."""
    wrong = 0
    for pool in range(pools):
        rng = np.random.default_rng([seed, pool])
        theta = rng.normal(0, deviation, models) + rng.normal(0, 0.5, (skills, models))
        wrong += bool(learned(theta[:, :, None] - theta[:, None, :], verdicts, rng).pair_fit.misfit)
    return wrong


def intransitive() -> list[Finding]:
    """Rock, paper and scissors at 90 %, and pools that follow the model."""
    found, pools = [], 100
    for verdicts in (75, 150, 600, 3000):
        given = circles(verdicts, pools, seed=verdicts)
        flagged = np.array([bool(one.pair_fit.misfit) for one in given])
        said = np.array([np.mean(one.gap_deviation[0, [0, 0, 1], [1, 2, 2]]) for one in given])
        kin = np.array([np.sum(~np.isnan(one.kinship[0, [0, 0, 1], [1, 2, 2]])) for one in given])
        error = float(flagged.std() / np.sqrt(pools))
        found += [
            Finding("intransitive", f"circle, {verdicts} verdicts: pools with a misfit", flagged.mean(), 1.0, error),
            Finding("intransitive", f"circle, {verdicts} verdicts: known kinships of 3", kin.mean(), 0.0, 0.0),
            Finding("intransitive", f"circle, {verdicts} verdicts: deviation of a gap", said.mean(), 2.2, 0.0),
        ]
    for verdicts in (300, 1000, 3000):
        share, wrong = circle_among_others(verdicts, 50, seed=verdicts)
        error = float(np.sqrt(share * (1.0 - share) / 50))
        what = f"circle among ten models, {verdicts} verdicts: pools"
        found.append(Finding("intransitive", what, share, 1.0, error))
        found.append(Finding("intransitive", f"{what}, other pairs flagged", wrong, 0.0, 0.0))
    for models, skills, verdicts, deviation, number in (
        (3, 1, 300, 1.0, 1000),
        (6, 3, 3000, 1.0, 300),
        (10, 1, 10_000, 1.4, 300),
        (10, 1, 10_000, 3.0, 200),
        (30, 1, 20_000, 1.4, 60),
    ):
        wrong = true_to_the_model(models, skills, verdicts, deviation, number, seed=1)
        what = f"of {number} true pools ({models} models, {skills} skills) flagged"
        found.append(Finding("intransitive", what, wrong, 0.0, float(np.sqrt(wrong))))
    return found
