"""Figures over pairs, held against counts made by hand."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from karma_monitor.figures.quality import LENGTH_RATIOS, Quality


def pair(**values: Any) -> SimpleNamespace:
    """A judged, decisive pair of responses 1 and 2 in which a, of 200 characters, beat b, of 100."""
    return SimpleNamespace(
        **{
            "id": 1, "prompt": 1, "policy": "random", "stream": "s", "skill": None, "judged": 1,
            "judged_probability": 1.0, "response_a": 1, "chosen": 1, "model_a": "a", "model_b": "b",
            "length_a": 200, "length_b": 100, "quality_a": None, "quality_b": None, "kinship": None, "gap": 0.0,
            "information": 0.5, "predicted": 0.8, "outcome": "decisive", "probability": 0.9, "flipped": 0,
            "label_source": "judge", "reasons": json.dumps({"win_probability": 0.6}),
        }
        | values
    )  # fmt: skip


def measured(*pairs: SimpleNamespace) -> Quality:
    quality = Quality()
    for one in pairs:
        quality.add(one)
    return quality


def figures(*pairs: SimpleNamespace, **changes: int) -> dict[str, Any]:
    tally = measured(*pairs).tallies["s", "random"]
    for name, value in changes.items():
        setattr(tally, name, value)
    return tally.figures()


def test_yields_are_decisive_pairs_by_prompts_with_and_without_a_pair_and_by_calls() -> None:
    tie = pair(prompt=2, outcome="tie", chosen=None, label_source=None)
    found = figures(pair(), pair(), tie, without_pair=2, calls=6)
    assert (found["prompts"], found["decisive"]) == (4, 2)
    assert (found["decisive_per_prompt"], found["decisive_per_call"]) == (0.5, 2 / 6)
    assert (found["bits_per_pair"], found["bits_per_call"]) == (0.5, 0.25)
    assert found["tie_share"] == 1 / 3


def test_an_open_pair_is_no_part_of_the_resolved() -> None:
    found = figures(pair(), pair(outcome=None, chosen=None, flipped=None, label_source=None))
    assert (found["open"], found["tie_share"]) == (1, 0.0)


def test_flips_are_counted_among_the_pairs_judged_in_both_orders() -> None:
    assert figures(pair(flipped=1), pair(flipped=0), pair(flipped=None))["flip_share"] == 0.5
    assert figures(pair(flipped=None))["flip_share"] is None


def test_the_length_ratio_is_a_geometric_mean_of_chosen_by_rejected() -> None:
    assert figures(pair(), pair(chosen=2))["length_ratio"] == pytest.approx(1.0)
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
    b_longer = pair(length_a=100, length_b=200, reasons=json.dumps({"win_probability": 0.9}))
    buckets = measured(pair(), b_longer, equal).lengths["judge"]
    bucket = buckets[LENGTH_RATIOS.index(2.0)]
    assert (bucket.pairs, bucket.longer) == (2, 1)
    assert bucket.expected == pytest.approx(0.6 + 0.1)
    assert sum(one.pairs for one in buckets) == 2


def test_predicted_labels_are_no_wins_of_a_model() -> None:
    quality = measured(pair(judged=0, label_source="predicted", judged_probability=0.1), pair())
    assert dict(quality.wins) == {("a", "b"): 1}
    assert quality.tallies["s", "random"].predicted == 1


def test_the_audit_is_made_of_judged_pairs_that_might_have_been_left_unjudged() -> None:
    right = [pair(judged_probability=0.5, predicted=0.8)] * 3
    wrong = [pair(judged_probability=0.5, predicted=0.3)]
    certain = [pair()] * 10
    unjudged = [pair(judged=0, label_source="predicted", judged_probability=0.5)] * 6
    spending = measured(*right, *wrong, *certain, *unjudged).spending["s"]
    assert spending.limited
    assert spending.judged_share == 14 / 20
    error = spending.error
    assert error is not None
    assert (error.estimate, error.audited, error.unjudged) == (0.25, 4, 6)
    assert error.low < 0.25 < error.high


def test_a_stream_without_a_budget_has_no_error_to_speak_of() -> None:
    spending = measured(pair(), pair()).spending["s"]
    assert not spending.limited
    assert spending.error is None
