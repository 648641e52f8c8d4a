"""Figures over pairs, held against counts made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from karma.ranking.snapshot import Snapshot
from karma.store.pair_quality import LENGTH_RATIOS, PairQuality
from karma.store.records import PairRecord, PairRow, VerdictRow
from karma_monitor.figures.judges import judges
from karma_monitor.figures.quality import policy_figures
from tests.benchmarks.hard_juries import jury


def verdicts(first: float, second: float, judge: str = "j") -> tuple[VerdictRow, ...]:
    """Both orders of a judge: P(first shown is better) with a first, and with b first."""
    return VerdictRow(1, judge, 0, first, None), VerdictRow(1, judge, 1, second, None)


def pair(**values: Any) -> PairRecord:
    """A judged, decisive pair of responses 1 and 2 in which a, of 200 characters, beat b, of 100."""
    record = {
        "stream": "s", "outcome": "decisive", "a_is_chosen": True, "probability": 0.9, "label_source": "judge",
        "resolved_at": 1.0, "verdicts": (),
    }  # fmt: skip
    row = {
        "id": 1, "prompt": 1, "policy": "random", "judged": 1, "judged_probability": 1.0, "response_a": 1,
        "response_b": 2, "model_a": "a", "model_b": "b", "length_a": 200, "length_b": 100, "quality_a": None,
        "quality_b": None, "kinship": None, "gap": 0.0, "information": 0.5, "likeness": None, "novelty": None,
        "predicted": 0.8, "win_probability": 0.6, "awaited": 0, "competency_a": None, "competency_b": None,
    }  # fmt: skip
    row |= {name: value for name, value in values.items() if name in row}
    record |= {name: value for name, value in values.items() if name in record}
    return PairRecord(pair=PairRow(**row), **record)  # type: ignore[arg-type]


def measured(*pairs: PairRecord) -> PairQuality:
    quality = PairQuality()
    for one in pairs:
        quality.add(one)
    return quality


def figures(*pairs: PairRecord, **changes: int) -> dict[str, Any]:
    sums = measured(*pairs).policies["s", "random"]
    for name, value in changes.items():
        setattr(sums, name, value)
    return policy_figures(sums)


def test_yields_are_decisive_pairs_by_prompts_with_and_without_a_pair_and_by_calls() -> None:
    tie = pair(prompt=2, outcome="tie", label_source=None)
    found = figures(pair(), pair(), tie, without_pair=2, calls=6)
    assert (found["prompts"], found["decisive"]) == (4, 2)
    assert (found["decisive_per_prompt"], found["decisive_per_call"]) == (0.5, 2 / 6)
    assert (found["bits_per_pair"], found["bits_per_call"]) == (0.5, 0.25)
    assert found["tie_share"] == 1 / 3


def test_an_open_pair_is_no_part_of_the_resolved() -> None:
    found = figures(pair(), pair(outcome=None, label_source=None))
    assert (found["open"], found["tie_share"]) == (1, 0.0)


def test_flips_are_counted_judge_by_judge_where_both_orders_have_a_verdict() -> None:
    steady, flips = verdicts(0.9, 0.1), verdicts(0.9, 0.9, "k")
    one_order = (VerdictRow(1, "j", 0, 0.9, None), VerdictRow(1, "j", 1, None, "x"))
    found = figures(pair(verdicts=(*steady, *flips)), pair(verdicts=one_order))
    assert found["flip_share"] == 0.5
    assert figures(pair())["flip_share"] is None


def test_more_judges_do_not_make_a_flip_likelier() -> None:
    """Each of three judges flips on another of three pairs: a third of their pairs, though every pair has a flip."""
    names = ("i", "j", "k")
    pairs = [
        pair(verdicts=tuple(v for name in names for v in verdicts(0.9, 0.9 if name == flipping else 0.1, name)))
        for flipping in names
    ]
    assert figures(*pairs)["flip_share"] == pytest.approx(1 / 3)
    assert [one["flip_share"] for one in judges(measured(*pairs), Snapshot.empty())] == [pytest.approx(1 / 3)] * 3


def test_the_length_ratio_is_a_geometric_mean_of_chosen_by_rejected() -> None:
    assert figures(pair(), pair(a_is_chosen=False))["length_ratio"] == pytest.approx(1.0)
    assert figures(pair(), pair())["length_ratio"] == pytest.approx(2.0)


def test_a_label_is_wrong_where_the_reference_says_that_only_the_rejected_is_right() -> None:
    pairs = [
        pair(quality_a=1.0, quality_b=0.0),
        pair(quality_a=0.0, quality_b=1.0),
        pair(quality_a=1.0, quality_b=1.0),
        pair(quality_a=0.0, quality_b=0.0),
        pair(quality_a=1.0, quality_b=None),
    ]
    found = figures(*pairs)
    assert (found["referenced"], found["label_error"]) == (2, 0.5)


def test_the_longer_response_is_held_against_the_chance_that_competency_gives_it() -> None:
    equal = pair(length_a=100)
    b_longer = pair(length_a=100, length_b=200, win_probability=0.9)
    buckets = measured(pair(), b_longer, equal).buckets["judge"]
    bucket = buckets[LENGTH_RATIOS.index(2.0)]
    assert (bucket.pairs, bucket.longer) == (2, 1)
    assert bucket.expected == pytest.approx(0.6 + 0.1)
    assert sum(one.pairs for one in buckets) == 2


def test_predicted_labels_are_no_wins_of_a_model() -> None:
    quality = measured(pair(judged=0, label_source="predicted", judged_probability=0.1), pair())
    assert dict(quality.wins) == {("a", "b"): 1}
    assert quality.policies["s", "random"].sources["predicted"] == 1


def test_a_judge_alone_agrees_with_nobody() -> None:
    """With one judge the label is its own vote."""
    (found,) = judges(measured(pair(verdicts=verdicts(0.9, 0.1))), Snapshot.empty())
    for name in ("agreement", "label_agreement", "others_agreement"):
        assert found[name] is None
    assert (found["label_compared"], found["others_compared"]) == (0, 0)


def test_the_label_holds_a_judges_own_vote_and_the_label_by_the_others_does_not() -> None:
    """Mean .62, for a: j and l agree with it. Without j it is .48, no side; without k .92, without l .45."""
    three = (*verdicts(0.9, 0.1), *verdicts(0.01, 0.99, "k"), *verdicts(0.95, 0.05, "l"))
    found = {one["judge"]: one for one in judges(measured(pair(verdicts=three)), Snapshot.empty())}
    assert [found[name]["label_agreement"] for name in "jkl"] == [1.0, 0.0, 1.0]
    assert [found[name]["others_agreement"] for name in "jkl"] == [None, 0.0, None]
    assert [found[name]["others_compared"] for name in "jkl"] == [0, 1, 0]


def test_a_better_judge_beside_two_copies_agrees_least_and_each_agreement_says_with_what() -> None:
    quality, _right = jury(2_000, 1, copied=True)
    found = {one["judge"]: one for one in judges(quality, Snapshot.empty())}
    assert found["best"]["others_agreement"] < 0.7 < 0.95 < found["a"]["others_agreement"]
    assert found["best"]["label_agreement"] == pytest.approx(0.66, abs=0.03)
    independent, _right = jury(2_000, 1, copied=False)
    apart = {one["judge"]: one for one in judges(independent, Snapshot.empty())}
    assert apart["best"]["others_agreement"] > apart["a"]["others_agreement"]
