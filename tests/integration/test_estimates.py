"""`karma enqueue --estimate` beside a budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pipeline import Pipeline

POOL = """
[models.a]
backend = "openai"
model = "a"
base_url = "http://127.0.0.1:9/v1"
price = { input = 1000.0, output = 2000.0 }
[models.b]
backend = "openai"
model = "b"
base_url = "http://127.0.0.1:9/v1"
price = { input = 1000.0, output = 2000.0 }
[judges.v]
kind = "verifier"
"""


@pytest.mark.parametrize(("budget", "said"), [(1e-3, True), (1e6, False)])
def test_an_estimate_above_what_is_left_of_the_budget_says_so(tmp_path: Path, budget: float, said: bool) -> None:
    karma = Pipeline(tmp_path, f"{POOL}[stream]\nbudget_usd = {budget}\n")
    shown = karma.call("enqueue", "-", "--estimate", text='{"prompt": "Hello", "reference": "x"}\n').stderr
    assert "1 prompt would cost about" in shown
    assert ("the budget of default ends it before: 0.0010 of 0.0010 USD are left (budget_usd)" in shown) == said
