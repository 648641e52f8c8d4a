"""Which probabilities are known to hold, which are not, and which nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from karma.ranking.snapshot import Snapshot
from karma.ranking.tail import EDGES, TailBin
from karma_monitor.figures.predictions import described, predictions, win_bin_of, win_sentence, win_tail_of
from tests.support.uncertain import LIMITED, SPARED, TAIL, refit


def with_tail(*bins: TailBin) -> Snapshot:
    return replace(Snapshot.empty(("a", "b")), version=1, win_tail=bins)


def test_a_range_without_verdicts_is_unknown_and_has_no_errors() -> None:
    bins = win_tail_of(with_tail(*TAIL))
    assert [(one["low"], one["state"]) for one in bins] == [
        (0.8, "reliable"),
        (0.9, "unreliable"),
        (0.95, "unknown"),
        (0.98, "unknown"),
        (0.99, "unknown"),
    ]
    assert (bins[-1]["high"], bins[-1]["stated"], bins[-1]["observed"], bins[-1]["number"]) == (1.0, None, None, 0)


@pytest.mark.parametrize(
    ("bins", "said"),
    [
        (
            TAIL,
            "0.9 to 0.95 unreliable (7.1% expected to be wrong, 11.2% are); 1 reliable (right within 1.5 points); "
            "3 unknown (verdicts cannot tell yet)",
        ),
        (TAIL[:1], "1 reliable (right within 1.5 points); 4 unknown (verdicts cannot tell yet)"),
        ((), "5 unknown (verdicts cannot tell yet)"),
    ],
)
def test_the_sentence_names_unreliable_ranges_and_counts_the_others(bins: tuple[TailBin, ...], said: str) -> None:
    assert win_sentence(win_tail_of(with_tail(*bins))) == f"win probabilities by competency, 5 ranges above 0.8: {said}"


@pytest.mark.parametrize(
    ("probability", "low"),
    [
        (None, None),
        (0.5, None),
        (0.79, None),
        (0.21, None),
        (0.8, 0.8),
        (0.93, 0.9),
        (0.07, 0.9),
        (1.0, 0.99),
        (0.0, 0.99),
    ],
)
def test_a_win_probability_is_in_the_range_of_the_side_that_it_favors(
    probability: float | None, low: float | None
) -> None:
    found = win_bin_of(with_tail(*TAIL), probability)
    assert (None if found is None else found["low"]) == low


def test_a_status_says_nothing_of_win_probabilities_before_the_first_refit() -> None:
    assert predictions(Snapshot.empty())["win_tail"] == []
    assert described(predictions(Snapshot.empty())) == []


def test_a_status_has_limits_labels_and_win_probabilities() -> None:
    known = predictions(refit())
    assert [len(bins) for bins in known["label_tails"].values()] == [len(EDGES) - 1]
    waiting, spared, labels, wins = described(known)
    assert waiting == (
        f"max_label_error of {LIMITED}, 5.0%: pairs are judged until predicted labels are known to be right enough: "
        "about 420 more judged pairs are needed"
    )
    assert spared.startswith(f"max_label_error of {SPARED}, 5.0%: at most 4.7% of the labels of the 55%")
    assert labels.startswith(f"predicted labels of {SPARED}, 5 ranges above 0.8: 0.9 to 0.95 unreliable")
    assert wins.startswith("win probabilities by competency, 5 ranges above 0.8: 0.9 to 0.95 unreliable")
