"""Several judges' verdicts become one label: by their weights where all are known, else by the mean as before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.ranking.jury import JudgeWeight, Jury
from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import from_bytes, to_bytes
from karma.store.records import VerdictRow
from karma.store.resolution_weights import weighed_of, weights_json
from karma.verdicts import resolve

KNOWN = Jury(
    {
        "soft": JudgeWeight(scale=6.0, weight=0.7),
        "hard": JudgeWeight(scale=0.1, weight=0.2),
        "copy": JudgeWeight(scale=0.1, weight=0.1, overlap={"hard": 1.0}),
        "first": JudgeWeight(scale=0.2, offset=-1.2, weight=0.0, position_bias=0.5),
    }
)


def row(judge: str, probability: float | None, shown: int = 0) -> VerdictRow:
    return VerdictRow(1, judge, shown, probability, None if probability is not None else "failed")


def test_a_good_soft_judge_outweighs_a_poor_hard_one() -> None:
    verdicts = [row("soft", 0.4), row("hard", 1.0)]
    assert resolve(verdicts).a_is_chosen
    weighed = resolve(verdicts, jury=KNOWN)
    assert weighed.outcome == "decisive"
    assert not weighed.a_is_chosen
    assert weighed.weighed is not None
    assert weighed.weighed["soft"].weight == pytest.approx(7 / 9)


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=2))
def test_one_judge_is_resolved_as_ever(orders: list[tuple[int, float]]) -> None:
    verdicts = [row("hard", probability, shown) for shown, probability in orders]
    assert resolve(verdicts, jury=KNOWN) == resolve(verdicts)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_jury_with_an_unknown_judge_is_a_mean(one: float, other: float) -> None:
    verdicts = [row("hard", one), row("new", other)]
    assert resolve(verdicts, jury=KNOWN) == resolve(verdicts) == resolve(verdicts, jury=Jury())


def test_a_failed_verdict_leaves_its_judge_out() -> None:
    verdicts = [row("hard", 0.9), row("soft", None)]
    assert resolve(verdicts, jury=KNOWN) == resolve(verdicts)


def test_two_copies_say_as_much_as_one() -> None:
    alone = KNOWN.weigh([row("hard", 1.0), row("soft", 0.5)])["hard"].log_odds
    both = KNOWN.weigh([row("hard", 1.0), row("copy", 1.0), row("soft", 0.5)])
    assert both["hard"].log_odds + both["copy"].log_odds == pytest.approx(alone * 1.5)
    linked = Jury({**KNOWN.judges, "hard": JudgeWeight(scale=0.1, overlap={"copy": 1.0})})
    both = linked.weigh([row("hard", 1.0), row("copy", 1.0), row("soft", 0.5)])
    assert both["hard"].log_odds + both["copy"].log_odds == pytest.approx(alone)


@pytest.mark.parametrize("shown", [0, 1])
def test_a_judge_that_says_first_adds_nothing_in_one_order(shown: int) -> None:
    said = KNOWN.weigh([row("first", 1.0, shown), row("hard", 1.0)])
    assert said["first"].log_odds == pytest.approx(0.0)


def test_two_orders_cancel_a_position() -> None:
    said = KNOWN.weigh([row("first", 1.0, 0), row("first", 1.0, 1), row("hard", 1.0)])
    assert said["first"].log_odds == 0.0


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(0, 1))
def test_swapping_the_responses_swaps_the_label(soft: float, hard: float, shown: int) -> None:
    one = resolve([row("soft", soft, shown), row("hard", hard, shown)], jury=KNOWN)
    other = resolve([row("soft", soft, 1 - shown), row("hard", hard, 1 - shown)], jury=KNOWN)
    assert one.outcome == other.outcome
    assert one.probability == pytest.approx(1.0 - (other.probability or 0.0))


GRADED = Jury(
    {
        name: JudgeWeight(scale, accuracy=right)
        for name, scale, right in (
            ("strong", 0.46, 0.94),
            ("middle", 0.33, 0.88),
            ("weak", 0.22, 0.79),
            ("blind", 0.0, 0.5),
        )
    }
)


def log_odds(jury: Jury, **probabilities: float) -> float:
    said = jury.weigh([row(judge, probability) for judge, probability in probabilities.items()])
    return sum(each.log_odds for each in said.values())


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.integers(0, 2), st.floats(0, 1))
def test_a_surer_verdict_never_lowers_the_label(given_: list[float], which: int, higher: float) -> None:
    raised = list(given_)
    raised[which] = max(given_[which], higher)
    names = ("strong", "middle", "weak")
    before, after = (log_odds(GRADED, **dict(zip(names, each, strict=True))) for each in (given_, raised))
    assert after >= before - 1e-12


def test_a_good_judge_is_seldom_outvoted_by_two_poorer_ones() -> None:
    """Added up as independent, .88 and .79 would outvote .94; they err on the same close pairs."""
    verdicts = {"strong": 1.0, "middle": 0.0, "weak": 0.0}
    assert log_odds(GRADED, **verdicts) > 0.0
    assert log_odds(GRADED, strong=0.0, middle=1.0, weak=1.0) < 0.0


def test_another_judge_that_agrees_makes_a_label_surer() -> None:
    two = log_odds(GRADED, middle=1.0, weak=1.0)
    assert log_odds(GRADED, strong=1.0, middle=1.0, weak=1.0) > two > log_odds(GRADED, weak=1.0, blind=1.0)


def test_a_judge_that_knows_nothing_changes_nothing() -> None:
    assert log_odds(GRADED, strong=1.0, weak=0.0, blind=1.0) == pytest.approx(log_odds(GRADED, strong=1.0, weak=0.0))


def test_a_verdict_beyond_the_usual_is_no_surer() -> None:
    bounded = Jury({**GRADED.judges, "soft": JudgeWeight(scale=5.0, usual=0.2, accuracy=0.85)})
    assert log_odds(bounded, soft=0.99, weak=0.5) == pytest.approx(log_odds(bounded, soft=0.6, weak=0.5))


def test_the_jury_travels_in_the_snapshot() -> None:
    assert from_bytes(to_bytes(Snapshot.empty(("a", "b")))).jury == Jury()
    assert from_bytes(to_bytes(replace(Snapshot.empty(("a", "b")), jury=KNOWN))).jury == KNOWN


def test_what_was_weighed_is_stored_and_read_again() -> None:
    weighed = KNOWN.weigh([row("soft", 0.4), row("hard", 1.0)])
    again = weighed_of(weights_json(weighed))
    assert again is not None
    assert again["soft"].log_odds == pytest.approx(weighed["soft"].log_odds, abs=1e-5)
    assert weights_json(None) is weights_json({}) is weighed_of(None) is None
