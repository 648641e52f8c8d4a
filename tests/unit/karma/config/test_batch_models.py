"""`batch = true` in the pool file: where it is allowed, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from karma.config.models import model_table
from karma.config.pool import Pool
from karma.config.pricing import Pricing, Usage
from karma.errors import SettingsError


def table(**settings: Any) -> dict[str, Any]:
    return {"backend": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1", "batch": True, **settings}


def test_a_price_is_halved() -> None:
    price = model_table("m", table(price={"input": 2.0, "output": 4.0, "cached_input": 1.0}), Path()).price
    assert price is not None
    assert (price.input, price.output, price.cached_input) == (1.0, 2.0, 0.5)


def test_another_discount() -> None:
    price = model_table("m", table(price={"input": 2.0, "output": 4.0}, batch_discount=0.25), Path()).price
    assert price is not None
    assert price.input == 0.5


def test_calls_are_priced_with_the_discount() -> None:
    price = {"input": 2.0, "output": 4.0}
    tables = {
        "models": {name: table(price=price) for name in ("a", "b")},
        "judges": {"p": {"kind": "prior"}},
    }
    pool = Pool.from_tables(tables, Path("pool.toml"))
    assert Pricing(pool).price("model", "a", Usage(1_000_000, 0)).cost_usd == 1.0


def test_limits_of_jobs_change_nothing_about_what_is_asked() -> None:
    one, other = (model_table("m", table(**more), Path()) for more in ({}, {"batch_requests": 7, "batch_poll_s": 1.0}))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backend": "transformers", "model": "org/name", "base_url": None}, "only"),
        ({"batch_requests": 0}, "batch_requests"),
        ({"batch_poll_s": 0.0}, "batch_poll_s"),
        ({"batch_discount": 2.0}, "batch_discount"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], words: str) -> None:
    named = {key: value for key, value in table(**settings).items() if value is not None}
    with pytest.raises(SettingsError, match=words):
        model_table("m", named, Path())
