"""Prices in the pool file: kept by name and never in a message; an error says what was found and what was expected."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from karma.config.pool import Pool
from karma.config.settings import Price
from karma.errors import SettingsError
from tests.support.memory import ENDPOINT

PRICE = {"input": 0.15, "output": 0.6}


def read(price: Any = None, judged: Any = None, judge: str = "j") -> Pool:
    def model(given: Any) -> dict[str, Any]:
        return {**ENDPOINT, "model": "m", **({} if given is None else {"price": given})}

    tables = {
        "models": {"m": model(price), "n": model(None)},
        "judges": {judge: {"kind": "openai", "model": model(judged)}},
    }
    return Pool.from_tables(tables, Path("pool.toml"))


def test_prices_are_kept_by_the_names_of_models_and_judges() -> None:
    assert read(PRICE, {"input": 3, "output": 0}).prices == {
        "m": Price(input=0.15, output=0.6),
        "j": Price(input=3.0, output=0.0),
    }


def test_without_a_price_none_is_known() -> None:
    assert read().prices == {}


def test_a_price_is_no_part_of_what_a_worker_is_told() -> None:
    pool = read(PRICE, PRICE)
    assert b"price" not in msgspec.json.encode([pool.models, pool.judges])


def test_the_cost_of_a_call_is_in_dollars() -> None:
    assert Price(input=2.0, output=6.0).of(1_000_000, 500_000) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("price", "said"),
    [
        (3, r"pool.toml: \[models.m\] price is 3, expected a table such as \{ input = 0.15, output = 0.6 \}"),
        ({"inptu": 1, "output": 1}, r"\[models.m\] price unknown key 'inptu' \(did you mean 'input'\?\)"),
        ({"input": 1}, r"\[models.m\] price .*`output`"),
        ({"input": -1, "output": 1}, r"\[models.m\] price input is -1.0, expected USD per million tokens, 0 or more"),
        ({"input": math.nan, "output": 1}, r"\[models.m\] price input is nan, expected USD"),
        ({"input": "1", "output": 1}, r"\[models.m\] price input is '1'"),
        ({"input": True, "output": 1}, r"\[models.m\] price input is True"),
    ],
)
def test_a_price_that_is_none_is_refused_with_what_was_found(price: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read(price)


def test_a_judges_price_is_refused_under_its_own_table() -> None:
    with pytest.raises(SettingsError, match=r"\[judges.j.model\] price is 3"):
        read(None, 3)


def test_a_model_and_a_judge_of_one_name_have_one_price() -> None:
    assert read(PRICE, PRICE, judge="m").prices == {"m": Price(input=0.15, output=0.6)}
    with pytest.raises(SettingsError, match="the same name and not the same price"):
        read(PRICE, None, judge="m")
