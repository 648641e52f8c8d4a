"""The limit on the label error holds although the ceiling is chosen on the same pairs, again and again."""

from __future__ import annotations

import numpy as np
import pytest

from karma.ranking.label_limit import EVERY_PAIR, Calibrating, label_limit, upper_bound
from karma_scoring.fit.predictions.label_limits import present_limit
from tests.benchmarks.limited_labels import limited


def calibrating(
    rng: np.random.Generator, number: int, audit: float = 1.0, worst: float = 0.4, error: float | None = None
) -> list[Calibrating]:
    """Judged pairs whose error grows with the square of their information, up to `worst`; or an equal error for all."""
    information = rng.random(number)
    wrong = rng.random(number) < (worst * information**2 if error is None else error)
    chance = np.where(information > 0.5, 1.0, audit)
    kept = rng.random(number) < chance
    rows = zip(*(column[kept].tolist() for column in (chance, wrong, np.arange(number), information)), strict=True)
    return [Calibrating(*row) for row in rows]


def test_the_ceiling_keeps_the_limit_and_is_not_far_from_the_best() -> None:
    """The mean error up to x is worst · x²/3: .05 at x = .61."""
    ceilings = [label_limit(calibrating(np.random.default_rng(seed), 4_000), 0.05).ceiling for seed in range(20)]

    known = np.array([value for value in ceilings if value is not None])
    assert len(known) == 20
    assert known.max() < 0.63
    assert np.median(known) > 0.42


def test_looks_again_and_again_choose_a_ceiling_too_high_in_few_streams() -> None:
    """A bound for one look, 1.645 standard errors, is exceeded at some look in more than a tenth of the streams."""
    beyond = 0
    for seed in range(40):
        pairs = calibrating(np.random.default_rng(seed), 3_000)
        found = [label_limit(pairs[:number], 0.05).ceiling for number in range(150, 3_001, 150)]
        beyond += any(value is not None and value > 0.615 for value in found)
    assert beyond <= 2


def test_audits_and_pairs_judged_for_certain_tell_the_same() -> None:
    """Below half a bit 3 % are audited; those stand for all there."""
    found = label_limit(calibrating(np.random.default_rng(1), 40_000, audit=0.03), 0.05)

    assert found.ceiling is not None
    assert 0.45 < found.ceiling < 0.62
    assert found.share == pytest.approx(found.ceiling, abs=0.05)
    assert found.estimate is not None
    assert found.estimate < 0.05


def test_pairs_of_few_prompts_say_less() -> None:
    pairs = calibrating(np.random.default_rng(2), 1_500, error=0.02)
    together = [pair._replace(prompt=int(pair.wrong) * (number % 6)) for number, pair in enumerate(pairs)]

    assert label_limit(pairs, 0.05).ceiling == EVERY_PAIR
    assert label_limit(together, 0.05).ceiling is None


def test_what_cannot_be_known_is_said_with_what_is_missing() -> None:
    few = label_limit(calibrating(np.random.default_rng(3), 150, error=0.0), 0.05)
    wrong = label_limit(calibrating(np.random.default_rng(3), 2_000, error=0.3), 0.05)
    nothing = label_limit([], 0.05)

    assert (few.ceiling, wrong.ceiling, nothing.ceiling) == (None, None, None)
    assert few.more is not None
    enough = calibrating(np.random.default_rng(4), 150 + round(1.2 * few.more), error=0.0)
    assert label_limit(enough, 0.05).ceiling is not None
    assert f"about {few.more:,} more" in few.reason()
    assert wrong.more is None
    assert "are wrong" in wrong.reason()
    assert "too few" in nothing.reason()


def test_pairs_from_before_the_error_changed_do_not_count() -> None:
    rng = np.random.default_rng(5)
    before = calibrating(rng, 3_000, error=0.01)
    after = [pair._replace(probability=0.03) for pair in calibrating(rng, 300, error=0.4)]

    assert present_limit(before[::-1], 0.05).ceiling == EVERY_PAIR
    found = present_limit([*after[::-1], *before[::-1]], 0.05)
    assert found.ceiling is None
    assert found.judged <= 320


def test_the_bound_falls_with_the_number_and_is_above_the_share() -> None:
    bounds = [upper_bound(0.04, number) for number in (1.0, 10.0, 100.0, 1e3, 1e4, 1e6)]
    assert bounds == sorted(bounds, reverse=True)
    assert 0.04 < bounds[-1] < 0.042


@pytest.mark.parametrize("seed", [2, 3])
def test_the_labels_that_go_out_keep_the_limit(seed: int) -> None:
    """By the point estimate of what would have been unjudged, in half of such streams they did not."""
    found = limited(seed, 0.1, 2_500)

    assert found.labels > 100
    assert found.error <= 0.1
    assert found.judged < 0.95


def test_noisy_labels_stay_with_the_judge() -> None:
    """There the error was .16 at a limit of .05."""
    found = limited(0, 0.05, 1_500, spread=1.2, variance=2.0)

    assert not found.error > 0.05
