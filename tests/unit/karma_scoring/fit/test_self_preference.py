"""A judge's preference for its own model is told from that model's competency, or called unknown."""

from __future__ import annotations

import pytest

from karma.ranking.self_preference import SelfPreference
from karma.store.judged_pairs import JudgedPair
from karma_scoring.fit.judges.self_preference import self_preference
from tests.benchmarks.hard_judges import OwnJudge


def measured(case: OwnJudge, seed: int = 1) -> tuple[SelfPreference, float]:
    pairs, excess = case.draw(seed)
    return self_preference(pairs, "j", {"m0"}, {"k"}), excess


def test_of_the_only_judge_it_is_unknown() -> None:
    """Whatever it says of its own model, nobody else says otherwise."""
    found, _truth = measured(OwnJudge(judged="alone", pairs=1_000))
    assert found.verdicts > 100
    assert (found.excess, found.error, found.low) == (None, None, None)
    assert "no other judge" in (found.unknown or "")


@pytest.mark.parametrize("judged", ["both", "halves"])
def test_an_inflated_own_model_is_seen_beside_another_judge(judged: str) -> None:
    found, truth = measured(OwnJudge(judged=judged, pairs=9_000))  # type: ignore[arg-type]
    assert truth > 0.15
    assert found.excess == pytest.approx(truth, abs=0.05)
    assert found.low is not None
    assert found.low > 0.1


@pytest.mark.parametrize("sharpness", [0.6, 1.0, 1.5])
def test_a_strong_own_model_is_no_bias_however_sharp_the_judge(sharpness: float) -> None:
    found, _truth = measured(OwnJudge(inflated=0.0, own=2.0, sharpness=sharpness, pairs=6_000))
    assert found.excess == pytest.approx(0.0, abs=0.04)


def test_few_verdicts_are_too_few() -> None:
    found, _truth = measured(OwnJudge(pairs=300))
    assert found.excess is None
    assert found.error is not None
    assert "too few verdicts" in (found.unknown or "")


def test_a_judge_of_another_stream_says_nothing() -> None:
    """The streams may ask for different things, at which the models are good or bad."""
    pairs, _truth = OwnJudge(judged="halves", pairs=4_000).draw(1)
    apart = [pair._replace(stream="s" if "j" in pair.sides else "t") for pair in pairs]
    assert self_preference(apart, "j", {"m0"}, {"k"}).excess is None


def test_a_reference_is_a_source_too() -> None:
    """Where exactly one response is right, it says which one is better."""
    pairs, truth = OwnJudge(pairs=6_000).draw(1)

    def checked(pair: JudgedPair) -> JudgedPair:
        sides = {name: side for name, side in pair.sides.items() if name == "j"}
        side = pair.sides.get("k", 0)
        return pair._replace(sides=sides, quality_a=float(side > 0), quality_b=float(side < 0))

    found = self_preference([checked(pair) for pair in pairs], "j", {"m0"}, ())
    assert found.excess == pytest.approx(truth, abs=0.05)


def test_rivals_that_no_other_source_connects_are_left_out() -> None:
    """The other judge compares the own model with m1 only, and m2 with m3."""
    pairs, _truth = OwnJudge(models=4, pairs=9_000).draw(1)
    halves = ({"m0", "m1"}, {"m2", "m3"})
    apart = [
        pair if {pair.model_a, pair.model_b} in halves else pair._replace(sides={"j": pair.sides.get("j", 1)})
        for pair in pairs
    ]
    within = [pair for pair in apart if {pair.model_a, pair.model_b} in halves]
    assert self_preference(apart, "j", {"m0"}, {"k"}).excess == self_preference(within, "j", {"m0"}, {"k"}).excess
