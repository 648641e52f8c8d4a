"""Every item of a batch gets exactly one verdict, and no probability that is none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from karma.messages import Header, JudgeBatch, JudgeItem, JudgeSpec, LearnBatch, Turn, Verdict
from karma_judging.handlers import Ask, judge

SPEC = JudgeSpec(name="fair", kind="test")
ITEMS = tuple(
    JudgeItem(
        item=n, pair=10 + n // 2, prompt=100, order=n % 2, seed=n, messages=(Turn("user", "Hi"),), first="x", second="y"
    )
    for n in range(4)
)

BATCH = JudgeBatch(header=Header(stream="s", batch="b", token="t"), judge="fair", specification="f", items=ITEMS)


def verdict(item: JudgeItem, probability: float | None = 0.75, **more: object) -> Verdict:
    named = {"pair": item.pair, "prompt": item.prompt, "judge": "fair", "order": item.order} | more
    return Verdict(item=item.item, probability=probability, **named)  # type: ignore[arg-type]


def outcome(*groups: Sequence[Verdict], error: Exception | None = None) -> list[LearnBatch]:
    def ask(_spec: JudgeSpec, _items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        yield from groups
        if error is not None:
            raise error

    asked: Ask = ask
    return list(judge(BATCH, SPEC, asked))


def test_verdicts_go_on_in_parts_as_they_come() -> None:
    parts = outcome([verdict(ITEMS[1])], [verdict(ITEMS[0]), verdict(ITEMS[2]), verdict(ITEMS[3])])

    assert [(part.header.part, len(part.items)) for part in parts] == [(0, 1), (1, 3)]


def test_a_judge_that_raises_fails_what_was_open_and_keeps_what_was_judged() -> None:
    first, rest = outcome([verdict(ITEMS[0])], error=RuntimeError("the text of a prompt"))

    assert first.items[0].probability == 0.75
    assert {(one.probability, one.failure) for one in rest.items} == {(None, "the judge fair failed: RuntimeError")}
    assert [(one.item, one.pair, one.order) for one in rest.items] == [(1, 10, 1), (2, 11, 0), (3, 11, 1)]


@pytest.mark.parametrize("probability", [float("nan"), float("inf"), -0.01, 1.01])
def test_what_is_no_probability_is_a_failure(probability: float) -> None:
    found = outcome([verdict(ITEMS[0], probability)])[0].items[0]

    assert found.probability is None
    assert found.failure == f"the probability {probability} is not in [0, 1]"


def test_a_verdict_that_says_nothing_is_a_failure() -> None:
    assert outcome([verdict(ITEMS[0], None)])[0].items[0].failure == "neither a probability nor a reason was returned"


def test_a_verdict_on_the_other_order_is_a_failure_because_it_would_turn_the_label_round() -> None:
    found = outcome([verdict(ITEMS[0], order=1)])[0].items[0]

    assert (found.order, found.probability) == (0, None)
    assert "in order 1" in (found.failure or "")


def test_a_failure_keeps_no_probability() -> None:
    assert outcome([verdict(ITEMS[0], 0.9, failure="cut off")])[0].items[0].probability is None


def test_an_item_at_which_a_judge_raises_fails_alone() -> None:
    def ask(_spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        for item in items:
            if item.item == 1:
                raise KeyError(item.first)
            yield [verdict(item)]

    found = {one.item: one for part in judge(BATCH, SPEC, ask) for one in part.items}

    assert {number: one.probability for number, one in found.items()} == {0: 0.75, 1: None, 2: 0.75, 3: 0.75}
    assert found[1].failure == "the judge fair failed: KeyError"


def test_importing_the_judges_loads_neither_torch_nor_aiohttp() -> None:
    code = (
        "import sys, karma_judging.judges, karma_judging.handlers; "
        "print({'torch', 'transformers', 'aiohttp', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
