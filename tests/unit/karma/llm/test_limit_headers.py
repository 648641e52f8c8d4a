"""What endpoints write into the headers of their limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.llm.limit_headers import MOST_S, requested_wait_s, used_up_s
from karma.llm.refusals import refusal_of

REMAINING, RESET = "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("17ms", 0.017),
        ("1s", 1.0),
        ("2.5s", 2.5),
        ("12", 12.0),
        ("1m26.4s", 86.4),
        ("6m0s", MOST_S),
        ("1h2m3s", MOST_S),
        ("1d", MOST_S),
        ("", 0.0),
        ("-4s", 0.0),
        ("soon", 0.0),
        ("nan", 0.0),
        ("1999-01-01T00:00:00Z", 0.0),
    ],
)
def test_a_reset_is_read_in_every_form(said: str, wait_s: float) -> None:
    assert used_up_s({REMAINING: "0", RESET: said}) == pytest.approx(wait_s)


def test_a_reset_is_read_as_a_date_and_since_1970() -> None:
    at = datetime.now(UTC) + timedelta(seconds=60)
    for said in (at.isoformat(), f"{at.timestamp():.0f}", f"{1e3 * at.timestamp():.0f}"):
        assert 55 < used_up_s({"x-ratelimit-remaining": "0", "x-ratelimit-reset": said}) <= 61, said
    anthropic = {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": at.isoformat()}
    assert 55 < used_up_s(anthropic) <= 61


@pytest.mark.parametrize("left", ["1", "599", "", "none", "nan"])
def test_a_limit_of_which_something_is_left_asks_for_no_wait(left: str) -> None:
    assert used_up_s({REMAINING: left, RESET: "30s"}) == 0.0
    assert used_up_s({RESET: "30s"}) == 0.0


def test_the_last_of_the_limits_that_are_used_up_counts() -> None:
    both = {REMAINING: "0", RESET: "2s", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9s"}
    assert used_up_s(both) == 9.0
    assert used_up_s({f"llm_provider-{name}": said for name, said in both.items()}) == 9.0


def test_a_refusal_waits_as_asked_and_else_until_the_reset() -> None:
    spent = {REMAINING: "0", RESET: "7s"}
    assert refusal_of(429, spent, b"").wait_s == 7.0
    assert refusal_of(429, {**spent, "Retry-After": "2"}, b"").wait_s == 2.0
    assert refusal_of(429, {REMAINING: "3", RESET: "7s"}, b"").wait_s is None


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_header_makes_a_wait_that_is_no_wait(left: str, reset: str) -> None:
    for headers in ({REMAINING: left, RESET: reset}, {REMAINING: "0", RESET: reset}):
        assert 0.0 <= used_up_s(headers) <= MOST_S
    asked = requested_wait_s({"Retry-After": reset})
    assert asked is None or 0.0 <= asked <= MOST_S
