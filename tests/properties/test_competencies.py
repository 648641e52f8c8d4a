"""What holds for any counts of verdicts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from karma.ranking.information import outcome
from karma.ranking.snapshot_archive import from_bytes, to_bytes
from karma_scoring.fit.competency import Counts, Posterior, Prior, fit
from karma_scoring.fit.kinship import posterior_kinship, snapshot

MODELS, SKILLS = ("a", "b", "c", "d"), ("x", "y")
numbers = st.floats(0, 50)
rows = st.tuples(st.integers(-1, 1), st.integers(0, 3), st.integers(0, 3), numbers, numbers, numbers)
records = st.lists(rows, max_size=12)
gaps = st.floats(-12, 12)
deviations = st.floats(0, 3)
ties = st.floats(0, 3)


def learned(record: list[tuple[int, int, int, float, float, float]], **prior: object) -> Posterior:
    """The posterior of a record of verdicts."""
    table = np.array(record, dtype=float).reshape(-1, 6)
    indices = table[:, :3].astype(np.int64)
    counts = Counts(indices[:, 0], indices[:, 1], indices[:, 2], table[:, 3], table[:, 4], table[:, 5])
    return fit(counts, MODELS, SKILLS, Prior(**prior))  # type: ignore[arg-type]


@given(records)
def test_competencies_are_centred_and_their_covariances_proper(
    record: list[tuple[int, int, int, float, float, float]],
) -> None:
    """In every row the means add up to 0; no direction has a negative variance."""
    found = learned(record, parents={"d": "a"})

    np.testing.assert_allclose(found.mean[:, :4].sum(axis=1), 0.0, atol=1e-8)
    np.testing.assert_allclose(found.covariance, found.covariance.transpose(0, 2, 1), atol=1e-10)
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-9


@given(records)
def test_every_table_of_a_snapshot_is_symmetric_and_within_its_bounds(
    record: list[tuple[int, int, int, float, float, float]],
) -> None:
    """Kinship in [0, 1] or unknown, information in [0, 1] bit, win probabilities that add up to 1."""
    found = snapshot(learned(record), version=1)

    for name in ("gap_deviation", "kinship", "information", "comparisons"):
        table = getattr(found, name)
        np.testing.assert_allclose(table, table.transpose(0, 2, 1), atol=1e-7)
    np.testing.assert_allclose(found.win + found.win.transpose(0, 2, 1), 1.0, atol=1e-9)
    kinship = found.kinship[~np.isnan(found.kinship)]
    assert ((kinship >= 0) & (kinship <= 1)).all()
    assert ((found.information > 0) & (found.information <= 1)).all()


@given(records, st.randoms())
def test_the_order_of_the_verdicts_is_irrelevant(
    record: list[tuple[int, int, int, float, float, float]], shuffler: object
) -> None:
    """And so is which model is named first."""
    turned = [(s, j, i, losses, wins, tied) for s, i, j, wins, losses, tied in record]
    shuffler.shuffle(turned)  # type: ignore[attr-defined]

    np.testing.assert_allclose(learned(turned).mean, learned(record).mean, atol=1e-6)


@given(gaps, deviations, st.floats(0.05, 2))
def test_kinship_is_a_symmetric_probability(gap: float, deviation: float, epsilon: float) -> None:
    """For any gap, deviation and width."""
    there, back = (posterior_kinship(np.array([g]), np.array([deviation]), epsilon)[0] for g in (gap, -gap))

    assert 0 <= there <= 1
    assert abs(there - back) < 1e-6


@given(gaps, gaps, deviations, ties)
def test_information_is_greatest_between_equals_and_falls_with_the_gap(
    one: float, other: float, deviation: float, tie: float
) -> None:
    """At one deviation, the wider mean gap never tells more (to the accuracy of the quadrature)."""
    near, far = sorted((one, other), key=abs)
    equal, nearer, farther = outcome(np.array([0.0, near, far]), np.array(deviation), tie)[0]

    assert equal + 2e-3 >= nearer >= farther - 2e-3
    assert abs(nearer - outcome(np.array([-near]), np.array(deviation), tie)[0][0]) < 1e-9


@given(gaps, deviations, ties)
def test_the_better_model_is_expected_to_win(gap: float, deviation: float, tie: float) -> None:
    """The predictive probability is on the side of the mean gap."""
    expected = outcome(np.array([gap]), np.array([deviation]), tie)[1][0]

    assert 0 <= expected <= 1
    assert (expected - 0.5) * np.sign(gap) >= -1e-3


@settings(max_examples=30)
@given(records)
def test_a_snapshot_survives_its_bytes(record: list[tuple[int, int, int, float, float, float]]) -> None:
    """In single precision."""
    before = snapshot(learned(record), version=9)
    after = from_bytes(to_bytes(before))

    assert (after.version, after.models, after.skills) == (9, MODELS, SKILLS)
    for name in ("mean", "deviation", "gap_deviation", "kinship", "information", "win", "comparisons"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-6, atol=1e-30)
