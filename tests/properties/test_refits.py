"""What holds for a refit of any counts: decayed, weighted, of several sources, of former models and of few models."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from karma.ranking.snapshot import MODEL_ARRAYS, PAIR_ARRAYS, Snapshot
from karma.ranking.snapshot_archive import from_bytes, to_bytes
from karma.store.records import Count
from karma_scoring.fit.benchmarks import mean_z_scores
from karma_scoring.fit.changes.drift import DriftFit, fit_with_drift, without_former
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.pair_residuals import pair_fit
from karma_scoring.fit.predictions.win_calibration import calibrated_tail
from karma_scoring.fit.time_buckets import bucket_at

NOW = 1.8e9
HALF_LIFE_H = 720.0
POOL = ("a", "b", "c", "d", "e")
#: Of the pool, one that left it, and a form of a model before it changed.
NAMES = (*POOL, "gone", "a#899000000")

#: Verdicts of one cell, and the weight of each: few, many, of rare audits.
numbers = st.one_of(st.just(0.0), st.integers(1, 40).map(float), st.sampled_from([1e-9, 1e3, 1e6]))
weights = st.sampled_from([1.0, 0.2, 33.0, 1e3])
#: From an hour ago to so long ago that hardly anything is left.
ages_s = st.sampled_from([2.0, 10.0, 3600.0, 3e6, 3e8, 1.7e9])


class Drawn(NamedTuple):
    """Counts, and what the pool file says."""

    rows: tuple[Count, ...]
    pool: tuple[str, ...]
    parents: dict[str, str]
    benchmarks: dict[str, dict[str, float]]


@st.composite
def cells(draw: st.DrawFn) -> Count:
    """A row of counts."""
    first, second = sorted(draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True)))
    weight, verdicts = draw(weights), draw(st.tuples(numbers, numbers, numbers))
    source, skill = draw(st.sampled_from(["judge", "orders", "probe"])), draw(st.sampled_from(["", "x", "y"]))
    bucket = bucket_at(NOW - draw(ages_s))
    wins_a, wins_b, ties = (weight * number for number in verdicts)
    return Count(source, skill, first, second, bucket, wins_a, wins_b, ties, weight * weight * sum(verdicts))


@st.composite
def draws(draw: st.DrawFn) -> Drawn:
    """Any counts of any part of the pool."""
    pool = POOL[: draw(st.integers(0, len(POOL)))]
    parents = draw(st.sampled_from([{}, {"b": "a"}, {"b": "a", "c": "b"}, {"e": "gone"}]))
    parents = {child: parent for child, parent in parents.items() if child in pool}
    benchmarks = draw(st.sampled_from([{}, {"a": {"m": 0.1, "n": 1.0}, "b": {"m": 0.4, "n": 2.0}, "d": {"m": 0.4}}]))
    return Drawn(tuple(draw(st.lists(cells(), max_size=14))), pool, parents, benchmarks)


def refit(drawn: Drawn) -> tuple[Snapshot, DriftFit]:
    """The snapshot as a refit makes it of counts, and the fit; any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = evidence(drawn.rows, drawn.pool, NOW, HALF_LIFE_H)
        fitted = fit_with_drift(seen, drawn.parents, mean_z_scores(drawn.benchmarks))
        explained = pair_fit(fitted.counts, fitted.posterior)
        made = snapshot(without_former(fitted.posterior), 1, drawn.benchmarks, explained)
        made = replace(made, win_tail=calibrated_tail(seen, made), common_changes=fitted.common)
    return made, fitted


def others(made: Snapshot) -> np.ndarray:
    """Which entries of a pair table are of two different models, [M+1, M+1]."""
    size = len(made.models) + 1
    different = ~np.eye(size, dtype=bool)
    different[-1, -1] = True
    return different


@given(draws())
def test_every_number_of_a_snapshot_is_one(drawn: Drawn) -> None:
    """Finite, no probability exactly 0 or 1, no deviation of two models 0; kinship in [0, 1] or unknown."""
    made, fitted = refit(drawn)
    different = others(made)
    stored = from_bytes(to_bytes(made))

    assert all(np.isfinite(getattr(made, name)).all() for name in {*MODEL_ARRAYS, *PAIR_ARRAYS} - {"kinship"})
    for each in (made, stored):
        win, kinship = each.win[:, different], each.kinship[~np.isnan(each.kinship)]
        assert ((win > 0.0) & (win < 1.0)).all()
        assert ((kinship >= 0.0) & (kinship <= 1.0)).all()
        assert ((each.information[:, different] > 0.0) & (each.information[:, different] <= 1.0)).all()
        assert (each.gap_deviation[:, different] > 1e-6).all()
    assert 0.0 < made.tie < np.inf
    assert np.abs(made.mean).max() < 1000.0
    assert fitted.posterior.steps < 60 * 5
    for each in made.win_tail:
        assert 0.0 <= each.observed_low <= each.observed <= each.observed_high <= 1.0
        assert 0.0 <= each.stated <= 0.5
        assert np.isfinite(each.number)
    for pair in made.pair_fit.misfit:
        assert np.isfinite([pair.observed, pair.expected, pair.z, pair.excess]).all()
    assert made.pair_fit.p_value is None or 0.0 <= made.pair_fit.p_value <= 1.0


@settings(max_examples=20)
@given(draws())
def test_a_refit_survives_its_bytes(drawn: Drawn) -> None:
    """Tables in single precision, all else exactly."""
    made, _fitted = refit(drawn)
    read = from_bytes(to_bytes(made))

    for name in (*MODEL_ARRAYS, *PAIR_ARRAYS, "cosine"):
        np.testing.assert_allclose(getattr(read, name), getattr(made, name), rtol=1e-6, atol=1e-30)
    for name in ("models", "skills", "tie", "sources", "pair_fit", "win_tail", "common_changes"):
        assert getattr(read, name) == getattr(made, name)


@settings(max_examples=50)
@given(draws(), st.randoms(use_true_random=False))
def test_the_order_of_counts_and_the_names_of_models_are_irrelevant(drawn: Drawn, shuffler: object) -> None:
    """Names decide the order of columns only, and who changed of two models that the verdicts cannot tell apart."""
    renamed = {name: f"{'zyxwvu'[place]}" for place, name in enumerate((*POOL, "gone"))}
    renamed["a#899000000"] = f"{renamed['a']}#899000000"

    def turned(row: Count) -> Count:
        a, b = renamed[row.model_a], renamed[row.model_b]
        swapped = a > b
        return row._replace(
            model_a=min(a, b),
            model_b=max(a, b),
            wins_a=row.wins_b if swapped else row.wins_a,
            wins_b=row.wins_a if swapped else row.wins_b,
        )

    rows = [turned(row) for row in drawn.rows]
    shuffler.shuffle(rows)  # type: ignore[attr-defined]
    other = Drawn(
        tuple(rows),
        tuple(renamed[name] for name in drawn.pool),
        {renamed[child]: renamed[parent] for child, parent in drawn.parents.items()},
        {renamed[name]: scores for name, scores in drawn.benchmarks.items()},
    )
    (made, before), (again, after) = refit(drawn), refit(other)
    assume([renamed[each.model] for each in before.changes] == [each.model for each in after.changes])

    order = [again.models.index(renamed[name]) for name in made.models] + [len(made.models)]
    assert_same(made, mean=again.mean[:, order], pairs=lambda table: table[:, order][:, :, order], other=again)


@settings(max_examples=50)
@given(draws())
def test_swapped_sides_mirror_the_tables(drawn: Drawn) -> None:
    """If every verdict is turned round, so is every gap."""
    drawn = drawn._replace(benchmarks={})
    rows = tuple(row._replace(wins_a=row.wins_b, wins_b=row.wins_a) for row in drawn.rows)
    made, turned = refit(drawn)[0], refit(drawn._replace(rows=rows))[0]

    assert_same(made, mean=-turned.mean, pairs=lambda table: table, other=replace(turned, win=1.0 - turned.win))


def assert_same(made: Snapshot, mean: np.ndarray, pairs: object, other: Snapshot) -> None:
    """Two snapshots of the same evidence agree, to the accuracy of the learned scale: 1 % of its logarithm."""
    np.testing.assert_allclose(made.mean, mean, atol=0.02, rtol=0.02)
    for name in PAIR_ARRAYS:
        table, own = pairs(getattr(other, name)), getattr(made, name)  # type: ignore[operator]
        known = ~(np.isnan(table) | np.isnan(own))  # whether kinship is known is decided at a limit of the deviation
        np.testing.assert_allclose(table[known], own[known], atol=0.02, rtol=0.02)
