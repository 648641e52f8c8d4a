"""Length bias is told from quality by a reference or by other judges, or called confounded."""

from __future__ import annotations

from typing import Any

import pytest

from karma.store.pair_quality import PairQuality
from karma_monitor.figures.judges.length import CONFOUNDED, length_bias
from tests.benchmarks.hard_judges import LongAnswers
from tests.unit.karma_monitor.figures.test_quality import pair, verdicts


def measured(case: LongAnswers, seed: int = 1) -> tuple[dict[str, Any], float, PairQuality]:
    quality, truth = case.draw(seed)
    return length_bias(quality.judges["j"]), truth, quality


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_of_the_only_judge_it_is_confounded_however_often_longer_wins(bias: float) -> None:
    found, _truth, quality = measured(LongAnswers(bias=bias, pairs=1_500))
    sums = quality.judges["j"]
    assert sums.longer > sums.longer_expected + 50
    assert found == CONFOUNDED


@pytest.mark.parametrize("sharpness", [0.6, 1.0, 1.5])
def test_an_unbiased_judge_has_no_bias_beyond_another_that_is_sharper_or_blunter(sharpness: float) -> None:
    found, _truth, _quality = measured(LongAnswers(sharpness=sharpness, other=1.0, models=0.3))
    assert found["evidence"] == "judges"
    assert abs(found["bias"]) < 2.0 * found["error"]


def test_a_judge_that_prefers_length_is_seen_beside_another() -> None:
    found, truth, _quality = measured(LongAnswers(bias=0.8, other=1.0, models=0.3))
    assert found["bias"] == pytest.approx(truth, abs=0.04)
    assert found["bias"] > 3.0 * found["error"]


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_responses_that_the_reference_calls_equal_tell_length_from_quality(bias: float) -> None:
    found, truth, _quality = measured(LongAnswers(bias=bias, checked=True, models=0.0, responses=0.3, pairs=4_000), 2)
    assert found["evidence"] == "reference"
    assert found["bias"] == pytest.approx(truth, abs=2.5 * found["error"])
    assert (found["bias"] > 2.0 * found["error"]) == (bias > 0.0)


def test_a_judge_that_sees_more_than_the_reference_is_not_called_biased_by_it() -> None:
    """Among responses that are both right, the better one is longer, and wins."""
    found, _truth, _quality = measured(LongAnswers(checked=True, only_correctness=False))
    assert found == CONFOUNDED


def test_a_rule_that_reads_no_responses_is_nobody_to_compare_with() -> None:
    quality = PairQuality(rules={"rule"})
    quality.add(pair(verdicts=(*verdicts(0.9, 0.1), *verdicts(0.1, 0.9, "rule"))))
    assert not quality.judges["j"].beside_others
    assert not quality.judges["rule"].beside_others


def test_a_judge_is_compared_with_the_reference_where_both_responses_were_checked_and_with_the_others() -> None:
    both = (*verdicts(0.9, 0.1), *verdicts(0.2, 0.8, "k"))
    quality = PairQuality()
    quality.add(pair(verdicts=both, quality_a=1.0, quality_b=1.0))
    quality.add(pair(verdicts=both, quality_a=1.0, quality_b=0.0))
    quality.add(pair(verdicts=both, quality_a=1.0))
    assert [(one.side, one.others) for one in quality.judges["j"].by_reference] == [(1, 0.0), (1, 1.0)]
    assert [(one.side, one.others) for one in quality.judges["k"].by_reference] == [(-1, 0.0), (-1, 1.0)]
    assert [(one.side, one.others, one.longer) for one in quality.judges["j"].beside_others] == [(1, -1.0, 1)] * 3
    assert quality.judges["j"].beside_others[0].favorite == pytest.approx(0.2)
