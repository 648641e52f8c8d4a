"""The judge `given`: verdicts that came with the prompts label the pairs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from karma.messages import JudgeBatch, LearnBatch
from karma.store import Store
from karma_gateway.forms.reader import PromptReader
from karma_gateway.ingest import take
from karma_gateway.sources.items import Row
from karma_judging.judges.given import GivenJudge
from tests.support.memory import Flow, make_pool

JUDGE = {"people": {"kind": "given"}}


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store("sqlite://")
    store.create()
    yield store
    store.close()


def judged(store: Store, *rows: dict, name: str = "people") -> list[tuple[str, str | None, str | None]]:
    """Outcome, chosen text and reason of every pair, in the order of the prompts."""
    flow = Flow(store, make_pool(judges=JUDGE))
    reader = PromptReader(1000, verdicts_as=name)
    assert not take(
        store, "default", [Row("t", n, row) for n, row in enumerate(rows)], max_bytes=1000, reader=reader
    ).refused
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            if isinstance(batch, JudgeBatch):
                verdicts = next(iter(GivenJudge().judge(flow.pool.judges[batch.judge], batch.items)))
                flow.handle(LearnBatch(header=batch.header, items=tuple(verdicts)))
            else:
                flow.handle(batch)
    with store.reading() as transaction:
        query = (
            "SELECT outcome, text, reason FROM resolutions LEFT JOIN responses ON responses.id = chosen ORDER BY pair"
        )
        return [tuple(row) for row in transaction.ledger.connection.exec_driver_sql(query)]


def row(prompt: str, first: float | None, second: float | None) -> dict:
    sides = [{"model": "x", "text": "one", "rating": first}, {"model": "y", "text": "two", "rating": second}]
    return {"id": prompt, "prompt": prompt, "responses": sides}


def test_who_is_rated_higher_is_chosen_and_a_tie_in_the_source_is_a_tie(store: Store) -> None:
    found = judged(store, row("a", 3, 1), row("b", 1, 3), row("c", 2, 2))
    assert found == [("decisive", "one", None), ("decisive", "two", None), ("tie", None, None)]


def test_a_pair_without_a_verdict_is_unscored_with_the_reason(store: Store) -> None:
    ((outcome, chosen, reason),) = judged(store, row("a", 3, None))
    assert (outcome, chosen) == ("unscored", None)
    assert reason is not None and "no verdict of people came with this pair" in reason


def test_the_verdicts_of_another_judge_are_not_taken(store: Store) -> None:
    assert [outcome for outcome, *_ in judged(store, row("a", 3, 1), name="somebody")] == ["unscored"]
