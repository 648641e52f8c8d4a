"""A judge's word counts for what it says of the label: more where it is right, nothing where it names a position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from karma.ranking.jury import Jury
from karma_scoring.fit.judges.copies import same_judges
from karma_scoring.fit.judges.jury_fit import fit_jury
from karma_scoring.fit.judges.votes import votes
from tests.benchmarks.simulated_jury import Member, draw, weights_of

COPIES = (
    *(Member("best", 0.85), Member("middle", 0.75), Member("weak", 0.65)),
    *(Member("copy", 0.65, copies="weak"), Member("again", 0.65, copies="weak"), Member("first", says_first=1.0)),
)


@pytest.mark.parametrize("orders", [1, 2])
def test_copies_and_a_judge_that_says_first_do_not_outvote_the_best(orders: int) -> None:
    drawn = draw(COPIES, 2_000, seed=3, orders=orders)
    found = weights_of(drawn)
    assert drawn.right(Jury(found)) > drawn.best() - 0.01
    assert found["first"].weight < 0.02
    assert (
        sum(found[name].weight for name in ("weak", "copy", "again"))
        < 1.2 * weights_of(draw((*COPIES[:3], COPIES[5]), 2_000, seed=3, orders=orders))["weak"].weight
    )
    assert found["best"].weight > found["middle"].weight > found["weak"].weight


def test_soft_judges_are_not_drowned_by_a_hard_one() -> None:
    members = (Member("soft", 0.85, spread=0.2), Member("other", 0.85, spread=0.2), Member("hard", 0.6))
    drawn = draw(members, 2_000, seed=1)
    found = weights_of(drawn)
    assert drawn.right(None) < 0.65
    assert drawn.right(Jury(found)) > 0.9
    assert found["soft"].scale > 10.0 * found["hard"].scale
    assert found["soft"].accuracy == pytest.approx(0.85, abs=0.04)


def test_few_verdicts_mean_nearly_equal_weights() -> None:
    found = weights_of(draw((Member("a", 0.95), Member("b", 0.6), Member("c", 0.6)), 25, seed=0))
    assert all(0.2 < each.weight < 0.5 for each in found.values())


def test_too_few_pairs_have_no_weights() -> None:
    assert weights_of(draw((Member("a", 0.9), Member("b", 0.6)), 19, seed=0)) == {}


def test_pairs_with_one_judge_say_nothing() -> None:
    drawn = draw((Member("a", 0.9),), 200, seed=0)
    assert weights_of(drawn) == {}


def test_references_tell_two_judges_apart() -> None:
    """Of two judges alone, agreement cannot say who is right."""
    members = (Member("good", 0.9), Member("bad", 0.6))
    alone, anchored = draw(members, 1_000, 5), draw(members, 1_000, 5, referenced=0.3)
    unknown, known = weights_of(alone), weights_of(anchored)
    assert unknown["good"].weight == pytest.approx(0.5, abs=0.05)
    assert known["good"].weight > 0.75
    assert known["good"].accuracy == pytest.approx(0.9, abs=0.03)


def test_a_person_anchors_as_a_reference_does() -> None:
    members = (Member("person", 0.97), Member("good", 0.9), Member("bad", 0.6))
    found = weights_of(draw(members, 1_000, 5), {"person": 0.95})
    assert found["person"].is_anchor
    assert found["person"].accuracy == pytest.approx(0.95)
    assert found["good"].weight > 3.0 * found["bad"].weight


def test_references_show_that_judges_who_agree_are_both_right() -> None:
    """Without them, two judges that agree on 99 of 100 pairs count as one."""
    members = (Member("a", 0.995), Member("b", 0.995), Member("c", 0.6))
    alone, anchored = weights_of(draw(members, 2_000, 2)), weights_of(draw(members, 2_000, 2, referenced=0.5))
    assert alone["a"].overlap["b"] > 0.7
    assert anchored["a"].overlap.get("b", 0.0) < 0.3


def test_good_judges_agree_often_without_being_copies() -> None:
    """They agree on 19 of 20 pairs, and one other judge cannot say whether they should."""
    found = weights_of(draw((Member("a", 0.97), Member("b", 0.96), Member("c", 0.75)), 2_000, 2))
    assert not found["a"].overlap
    assert found["c"].weight < 0.25


def test_a_logit_beyond_the_usual_ones_is_no_surer() -> None:
    """A soft judge's few large logits would stretch its scale, and carry every label that they are in."""
    members = (Member("good", 0.9), Member("soft", 0.75, spread=0.2), Member("other", 0.75))
    drawn = draw(members, 1_000, 8)
    is_wild = (drawn.judge == 1) & (np.random.default_rng(0).random(1_000) < 0.02)[drawn.pair]
    wild = replace(drawn, probability=np.where(is_wild, np.round(drawn.probability), drawn.probability))
    found = weights_of(wild)
    soft = found["soft"]
    assert 0.2 < soft.usual < 1.5
    assert soft.alone(6.0, 0.0) == pytest.approx(soft.alone(soft.usual, 0.0))
    assert soft.alone(6.0, 0.0) < 4.0
    assert found["good"].weight > soft.weight
    assert wild.right(Jury(found)) > 0.9


def test_names_and_their_order_change_no_weight() -> None:
    drawn = draw(COPIES, 400, seed=4, orders=1)
    turned = tuple(reversed(drawn.names))
    one, other = weights_of(drawn), weights_of(replace(drawn, names=turned, judge=len(turned) - 1 - drawn.judge))
    for name in turned:
        assert other[name].weight == pytest.approx(one[name].weight, abs=1e-6)
        assert other[name].accuracy == pytest.approx(one[name].accuracy, abs=1e-6)


def test_a_third_copy_changes_little() -> None:
    members = (*COPIES[:4], COPIES[5])
    two, three = draw(members, 2_000, seed=9), draw((*members, Member("third", 0.65, copies="weak")), 2_000, seed=9)
    weak, more = weights_of(two), weights_of(three)
    assert sum(more[name].weight for name in ("weak", "copy", "third")) < 1.1 * sum(
        weak[name].weight for name in ("weak", "copy")
    )


def test_judges_that_share_few_pairs_get_the_same_weights() -> None:
    """Of each pair two of the judges, drawn, as with a rotation."""
    members = (*COPIES[:3], COPIES[3])
    dense, sparse = draw(members, 6_000, seed=11), draw(members, 6_000, seed=11, judges_per_pair=2)
    full, found = weights_of(dense), weights_of(sparse)
    for name in dense.names:
        assert found[name].weight == pytest.approx(full[name].weight, abs=0.08)
    assert found["weak"].overlap["copy"] > 0.8
    assert sparse.right(Jury(found)) > sparse.right(None) + 0.03


def test_swapping_the_responses_changes_no_weight() -> None:
    drawn = draw(COPIES, 400, seed=4, orders=1)
    swapped = votes(drawn.names, drawn.pair, drawn.judge, 1 - drawn.shown, drawn.probability, -drawn.reference)
    one, other = weights_of(drawn), fit_jury(swapped, {})
    for name, weight in one.items():
        assert other[name].weight == pytest.approx(weight.weight, abs=1e-3)
        assert other[name].position_bias == weight.position_bias


def test_habits_of_a_judge_are_counted() -> None:
    members = (Member("a", 0.8, says_first=0.4, ties=0.2), Member("b", 0.8), Member("c", 0.8))
    found = weights_of(draw(members, 3_000, 6))["a"]
    assert found.position_bias == pytest.approx(0.4 / 2.0, abs=0.03)
    assert found.flip_rate == pytest.approx(0.8 * 0.4 + 0.2 * 0.4**2, abs=0.03)
    assert found.tie_rate == pytest.approx(0.2 * 0.6, abs=0.03)


def test_independent_judges_are_no_copies() -> None:
    drawn = draw([Member(name, 0.85) for name in "abcd"], 2_000, 7)
    assert not same_judges(drawn.votes, np.zeros(4, dtype=bool)).any()


def test_accuracy_is_inside_its_interval_about_as_often_as_said() -> None:
    members = (Member("a", 0.85), Member("b", 0.75), Member("c", 0.65), Member("d", 0.8))
    inside = []
    for seed in range(25):
        found = weights_of(draw(members, 1_000, seed))
        for member in members:
            known = found[member.name]
            assert known.low is not None
            assert known.high is not None
            inside.append(known.low <= member.accuracy <= known.high)
    assert np.mean(inside) > 0.88
