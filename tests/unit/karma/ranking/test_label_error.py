"""The audit's interval covers the true error of the labels that no judge saw."""

from __future__ import annotations

import numpy as np
import pytest

from karma.ranking.label_error import Audited, label_error, wilson


def stream(
    rng: np.random.Generator, pairs: int, audit: float, wrong: float, together: float
) -> tuple[list[Audited], int, float]:
    """One stream: its audited pairs, the number of unjudged ones, and their true error.

    Errors are likelier near the threshold; there a tenth of the pairs is judged with a greater chance. Twenty pairs are
    of one prompt, and prompts differ in how wrong they are: the deviation of their error is `together` times its mean.
    """
    prompt = np.arange(pairs) // 20
    of_prompt = np.ones(pairs // 20 + 1)
    if together:
        of_prompt = rng.gamma(together**-2.0, together**2.0, len(of_prompt))
    near = rng.random(pairs) < 0.1
    error = rng.random(pairs) < np.where(near, 2.0 * wrong, wrong * 0.8 / 0.9) * of_prompt[prompt]
    chance = np.where(near, rng.uniform(audit, 1.0, pairs), audit)
    judged = rng.random(pairs) < chance
    rows = zip(chance[judged].tolist(), error[judged].tolist(), prompt[judged].tolist(), strict=True)
    audited = [Audited(*row) for row in rows]
    return audited, int((~judged).sum()), float(error[~judged].mean())


def coverage(rounds: int, pairs: int, audit: float, wrong: float, together: float) -> float:
    """The share of streams whose true error lies within the interval."""
    rng = np.random.default_rng(11)
    covered, width = 0, 0.0
    for _ in range(rounds):
        audited, unjudged, truth = stream(rng, pairs, audit, wrong, together)
        found = label_error(audited, unjudged)
        assert found is not None
        covered += found.low <= truth <= found.high
        width += (found.high - found.low) / rounds
    settings = f"{pairs} pairs, audit {audit}, {wrong} wrong, {together} together"
    print(f"{settings}: covered {covered / rounds:.3f}, width {width:.3f}")
    return covered / rounds


@pytest.mark.parametrize(
    ("pairs", "audit", "wrong", "together"),
    [(10_000, 0.03, 0.05, 0.0), (3_000, 0.1, 0.08, 0.0), (10_000, 0.1, 0.04, 2.0)],
)
def test_a_nominal_95_percent_interval_covers_the_truth(
    pairs: int, audit: float, wrong: float, together: float
) -> None:
    assert 0.92 <= coverage(300, pairs, audit, wrong, together) <= 0.98


@pytest.mark.long
@pytest.mark.parametrize(
    ("pairs", "audit", "wrong", "together"),
    [
        (20_000, 0.03, 0.05, 0.0),
        (20_000, 0.03, 0.02, 0.0),
        (5_000, 0.1, 0.08, 0.0),
        (20_000, 0.03, 0.05, 1.0),
        (20_000, 0.1, 0.04, 2.0),
        (60_000, 0.05, 0.04, 1.5),
    ],
)
def test_the_interval_covers_the_truth_in_streams_of_every_kind(
    pairs: int, audit: float, wrong: float, together: float
) -> None:
    assert 0.92 <= coverage(500, pairs, audit, wrong, together) <= 0.98


def test_nothing_audited_says_nothing() -> None:
    assert label_error([], 100) is None
    assert label_error([Audited(1.0, True, 1)], 100) is None, "what is judged for certain is no audit"


def test_no_error_found_is_no_proof_of_none() -> None:
    found = label_error([Audited(0.05, False, n) for n in range(50)], 1000)
    assert found is not None
    assert (found.estimate, found.low) == (0.0, 0.0)
    assert 0.03 < found.high < 0.12


@pytest.mark.parametrize("number", [1.434137672856965, 27.53594418029669, 999.9999999999998, 984196.1922690966])
def test_an_interval_holds_its_estimate(number: float) -> None:
    """Rounding would put its end a hair above an error of 0."""
    assert wilson(0.0, number)[0] == 0.0
    assert wilson(1.0, number)[1] == 1.0
