"""The rivals make the pairs that KARMA makes, and ask the judge in the same words."""

from __future__ import annotations

import io
import json
import re

import pytest

from karma.messages import JudgeItem, JudgeSpec, Turn
from karma_judging.template import render
from tests.benchmarks.rivals.pairs import first_is_better, question, write

FENCE = re.compile("==[0-9a-f]{16}==")


def test_the_judge_is_asked_what_the_template_asks() -> None:
    item = JudgeItem(
        item=1, pair=1, prompt=1, order=0, seed=1, messages=(Turn("user", "Why?"),), first="Because.", second="So."
    )
    asked = render(JudgeSpec(name="j", kind="openai"), item)
    assert FENCE.sub("FENCE", question("Why?", "Because.", "So.")) == FENCE.sub("FENCE", asked)


@pytest.mark.parametrize(
    ("answer", "probability"),
    [("Clear.\nVerdict: A", 1.0), ("Verdict: A\nno:\nVerdict: B", 0.0), ("Verdict: tie", 0.5), ("A", 0.5)],
)
def test_the_last_verdict_line_counts(answer: str, probability: float) -> None:
    assert first_is_better(answer) == probability


@pytest.mark.parametrize(
    ("verdicts", "chosen"), [((1.0, 0.0), "red's"), ((0.0, 1.0), "blue's"), ((0.5, 0.0), "red's"), ((1.0, 1.0), None)]
)
def test_a_pair_is_what_both_orders_say_and_none_where_they_cancel_out(
    verdicts: tuple[float, float], chosen: str | None
) -> None:
    out = io.StringIO()
    write(out, {"id": "q", "prompt": "Why?"}, ("red's", "blue's"), verdicts)
    assert [json.loads(line)["chosen"] for line in out.getvalue().splitlines()] == ([chosen] if chosen else [])
