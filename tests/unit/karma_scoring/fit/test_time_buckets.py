"""Time buckets: the older, the wider, and never torn apart."""

from hypothesis import given
from hypothesis import strategies as st

from karma_scoring.fit.time_buckets import bucket_at, coarse, merges

DAY = bucket_at(86_400.0)

moments = st.integers(0, 400 * DAY)


@given(moments, moments)
def test_a_bucket_is_at_most_an_eighth_as_wide_as_it_is_old(one: int, other: int) -> None:
    """And what came in the last seconds is not merged at all."""
    bucket, now = sorted((one, other))
    moved = bucket - coarse(bucket, now)

    assert 0 <= moved <= (now - bucket) / 8


@given(moments, moments, st.integers(0, 40 * DAY), st.integers(0, 40 * DAY))
def test_buckets_that_were_merged_stay_together(one: int, other: int, sooner: int, later: int) -> None:
    """Whenever somebody looked in between."""
    now = max(one, other) + sooner
    if coarse(one, now) == coarse(other, now):
        assert coarse(one, now + later) == coarse(other, now + later)


def test_a_month_takes_few_buckets() -> None:
    """Verdicts in every two seconds of the last day, and in every sixteen of the month before."""
    now = 30 * DAY

    assert len({coarse(bucket, now) for bucket in [*range(0, now - DAY, 8), *range(now - DAY, now)]}) < 300


def test_only_what_is_part_of_a_wider_bucket_is_merged() -> None:
    """Of three buckets, the two that are old enough and side by side."""
    assert merges([1000, 1001, 1031], now=1032) == {1001: 1000}
