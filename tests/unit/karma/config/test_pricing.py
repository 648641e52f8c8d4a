"""What a call costs: by the pool file, else by the price list for a provider's host, else unknown and never 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from karma.config import parts
from karma.config.pool import Pool
from karma.config.pricing import Priced, Pricing, Usage, hosted_price, money
from karma.config.settings import Price
from karma.errors import SettingsError

OPENAI = "https://api.openai.com/v1"


def pool(base_url: str = "http://127.0.0.1:1/v1", model: str = "m", price: Any = None, **tables: Any) -> Pool:
    own = {"backend": "openai", "base_url": base_url, "model": model}
    priced = own if price is None else {**own, "price": price}
    return Pool.from_tables(
        {
            "models": {"m": priced, "n": priced},
            "judges": {"j": {"kind": "openai", "model": priced}},
            **tables,
        },
        Path("pool.toml"),
    )


def test_the_pool_files_price_comes_first_and_says_so() -> None:
    priced = Pricing(pool(OPENAI, "gpt-4o-mini", {"input": 1.0, "output": 2.0})).price("model", "m", Usage(1000, 500))
    assert priced == Priced(pytest.approx(0.002), "pool")


def test_cached_input_has_its_own_price_and_reasoning_is_output() -> None:
    price = Price(input=1.0, output=2.0, cached_input=0.1)
    assert money(price, None, Usage(1_000_000, 0, 400_000)) == pytest.approx(0.64)
    assert money(price, None, Usage(0, 1_000_000, None, 900_000)) == pytest.approx(2.0)
    assert price.of(10, 0, 99) == pytest.approx(1e-6)  # more cached than read
    with pytest.raises(SettingsError, match="cached_input is -1"):
        pool(price={"input": 1, "output": 1, "cached_input": -1})


def test_what_is_stored_stays_whatever_the_price_is_today() -> None:
    assert money(Price(input=1.0, output=1.0), 7.0, Usage(1, 1)) == 7.0
    assert money(None, 7.0, Usage()) == 7.0


def test_unknown_is_not_nothing() -> None:
    price = Price(input=1.0, output=1.0)
    assert money(None, None, Usage(1, 1)) is None
    assert money(price, None, Usage(None, 1)) is None
    assert money(price, None, Usage()) is None
    assert money(Price(input=0.0, output=1.0), None, Usage(None, 1)) == pytest.approx(1e-6)
    assert Pricing(pool()).price("model", "m", Usage(1, 1)) == Priced()
    assert Pricing(pool()).price("model", "gone", Usage(1, 1)) == Priced()


def test_a_providers_model_has_the_price_of_the_list() -> None:
    priced = Pricing(pool(OPENAI, "gpt-4o-mini")).price("model", "m", Usage(1_000_000, 0))
    assert priced.cost_usd == pytest.approx(0.15, rel=0.9)
    assert priced.priced_by is not None and priced.priced_by.startswith("genai-prices ")
    assert Pricing(pool(OPENAI, "gpt-4o-mini")).price("judge", "j", Usage(10, 10)).cost_usd
    cached = hosted_price(OPENAI, "gpt-4o-mini", Usage(1000, 10, 500))
    assert cached is not None and cached < (hosted_price(OPENAI, "gpt-4o-mini", Usage(1000, 10)) or 0)


@pytest.mark.parametrize(
    ("url", "model"),
    [
        ("http://127.0.0.1:8000/v1", "mistral-7b"),  # a server of one's own
        ("http://localhost/v1", "gpt-4o-mini"),
        ("http://api.openai.com/v1", "gpt-4o-mini"),  # not by TLS
        ("https://api.openai.com.example.org/v1", "gpt-4o-mini"),
        ("https://example.org/api.openai.com", "gpt-4o-mini"),
        ("https://example.org/x.googleapis.com", "gemini-2.5-pro"),
        (OPENAI, "no-such-model"),
        (OPENAI, "openai/gpt-4o-mini"),
    ],
)
def test_only_a_known_host_is_priced_by_the_list(url: str, model: str) -> None:
    assert hosted_price(url, model, Usage(1000, 100)) is None


def test_a_budget_without_a_price_is_refused_and_the_models_are_named() -> None:
    with pytest.raises(SettingsError, match=r"\[models.m\], \[models.n\], \[judges.j.model\] is not known.*`prices`"):
        parts.check_budgets(pool(stream={"budget_usd": 1.0}))
    with pytest.raises(SettingsError, match=r"\[pipeline\] has a budget"):
        parts.check_budgets(pool(pipeline={"budget_usd_per_day": 1.0}))
    with pytest.raises(SettingsError, match=r"\[streams.s\] has a budget"):
        parts.check_budgets(pool(streams={"s": {"budget_usd_per_day": 1.0, "models": ["m", "n"]}}))
    parts.check_budgets(pool(price={"input": 0, "output": 0}, stream={"budget_usd": 1.0}))
    parts.check_budgets(pool())


def test_a_budget_is_above_nothing() -> None:
    with pytest.raises(SettingsError, match="budget_usd"):
        pool(stream={"budget_usd": 0})
