"""A label error that changes is reported soon, and one that does not is measured by all audits."""

from __future__ import annotations

import numpy as np
import pytest

from karma.ranking.label_error import Audited, label_error
from karma.ranking.label_error_change import since_change


def audits(rng: np.random.Generator, errors: list[tuple[int, float]], per_prompt: int = 1) -> list[Audited]:
    """Audited pairs, so many at each error; all pairs of a prompt are right or wrong together."""
    audited: list[Audited] = []
    for number, error in errors:
        wrong = np.repeat(rng.random(-(-number // per_prompt)) < error, per_prompt)[:number]
        prompts = (len(audited) + np.arange(number)) // per_prompt
        chances = rng.choice([0.03, 0.03, 0.03, 0.3], size=number)
        rows = zip(chances.tolist(), wrong.tolist(), prompts.tolist(), strict=True)
        audited += [Audited(*row) for row in rows]
    return audited


@pytest.mark.parametrize(("before", "after", "number"), [(0.02, 0.5, 100), (0.05, 0.2, 300), (0.5, 0.02, 100)])
def test_a_jump_of_the_error_is_reported_soon(before: float, after: float, number: int) -> None:
    for seed in range(5):
        found = label_error(since_change(audits(np.random.default_rng(seed), [(19_000, before), (number, after)])), 600)
        assert found is not None
        assert found.low <= after <= found.high or found.estimate == pytest.approx(after, abs=0.1), found


@pytest.mark.parametrize("per_prompt", [1, 10])
def test_a_constant_error_is_measured_by_all_audits(per_prompt: int) -> None:
    for seed in range(5):
        given = audits(np.random.default_rng(seed), [(6_000, 0.05)], per_prompt)
        for number in range(200, 6_001, 200):
            assert len(since_change(given[:number])) == number


def test_the_last_of_several_changes_counts() -> None:
    given = audits(np.random.default_rng(1), [(3_000, 0.02), (2_000, 0.3), (1_000, 0.05)])

    assert 900 < len(since_change(given)) < 1_100


def test_without_errors_or_audits_nothing_changed() -> None:
    assert since_change([]) == []
    assert len(since_change([Audited(0.03, False, n) for n in range(500)])) == 500
    assert len(since_change([Audited(0.03, True, n) for n in range(500)])) == 500
    assert since_change([Audited(1.0, True, 1)]) == [], "what is judged for certain is no audit"
