"""Verdicts that share responses count as the independent comparisons among them, judged in full or in part."""

from __future__ import annotations

from itertools import combinations

import pytest

from karma.ranking.verdict_weights import PromptPair, prompt_weight


def formed(*sides: tuple[int, int], judged: frozenset[int] | None = None) -> list[PromptPair]:
    return [PromptPair(1, a, b, int(judged is None or n in judged)) for n, (a, b) in enumerate(sides)]


@pytest.mark.parametrize(
    ("sides", "share"),
    [
        (((1, 2),), 1.0),
        (((1, 2), (3, 4), (5, 6)), 1.0),
        (((1, 2), (1, 3), (1, 4)), 1.0),
        (((1, 2), (2, 3), (1, 3)), 2 / 3),
        (((1, 2), (2, 3), (1, 3), (4, 5), (5, 6), (4, 6)), 4 / 6),
        (tuple(combinations(range(24), 2)), 2 / 24),
    ],
)
def test_verdicts_count_as_the_independent_comparisons_among_their_responses(
    sides: tuple[tuple[int, int], ...], share: float
) -> None:
    weight = prompt_weight(formed(*sides))

    assert weight == pytest.approx((share, share))
    assert weight.of(1.0) == pytest.approx((share, share))


def test_a_lone_verdict_is_worth_one_however_rarely_it_is_judged() -> None:
    """Its weight stands for all pairs like it, its effective size for itself."""
    weight, square = prompt_weight(formed(*combinations(range(4), 2), judged=frozenset({2}))).of(0.1)

    assert weight == pytest.approx(0.5 / 0.1)
    assert weight * weight / square == pytest.approx(1.0)


def test_a_prompt_without_judged_pairs_has_a_weight() -> None:
    assert prompt_weight(formed((1, 2), judged=frozenset())) == (1.0, 1.0)
    assert prompt_weight([]) == (1.0, 1.0)
