"""What ended badly is brought back, goes on where it ended, and what was answered is not paid for again."""

from __future__ import annotations

from karma.messages import GenerateBatch, JudgeBatch
from karma.store import Store
from karma.store.counting import failed, prompts_without_pair, resolutions_by_outcome
from karma.store.requeue import bring_back, requeue_dead, requeue_unanswered, requeue_unscored
from tests.support.memory import Flow, make_pool


def states(store: Store) -> dict[str, int]:
    with store.reading() as transaction:
        return {state: count for state, count in transaction.ledger.count_states().items() if count}


def test_failed_answers_are_asked_for_again_and_good_ones_are_kept(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"id": "good", "prompt": "x"}, {"id": "bad", "prompt": "y"})
    flow.dispatcher.admit()
    for batch in flow.messages():
        assert isinstance(batch, GenerateBatch)
        answers = flow.answer(batch).items
        failures = flow.answer(batch, failure="the endpoint is away").items
        mixed = [bad if batch.model == "a" and one.messages[0].content == "y" else good
                 for one, good, bad in zip(batch.items, answers, failures, strict=True)]  # fmt: skip
        flow.handle(type(flow.answer(batch))(header=batch.header, items=tuple(mixed)))
    flow.finish()
    assert states(store) == {"done": 2}
    with store.reading() as transaction:
        assert prompts_without_pair(transaction.ledger.connection).total() == 1
        assert failed(transaction.ledger.connection, "responses") == 1
    with store.transaction() as transaction:
        assert len(requeue_unanswered(transaction.ledger.connection, "another stream")) == 0
        assert len(requeue_unanswered(transaction.ledger.connection)) == 1
        assert len(requeue_dead(transaction.ledger.connection)) == 0
    assert states(store) == {"accepted": 1, "done": 1}
    flow.dispatcher.admit()
    (again,) = flow.messages()
    assert isinstance(again, GenerateBatch)
    assert (again.model, len(again.items)) == ("a", 1)
    flow.handle(flow.answer(again))
    flow.finish()
    assert states(store) == {"done": 2}
    with store.reading() as transaction:
        assert prompts_without_pair(transaction.ledger.connection).total() == 0
        assert failed(transaction.ledger.connection, "responses") == 0


def test_pairs_without_a_valid_verdict_are_judged_again_in_the_orders_that_failed(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"id": "p", "prompt": "x"})
    flow.dispatcher.admit()
    judged: list[JudgeBatch] = []
    while flow.sent:
        for batch in flow.messages():
            if isinstance(batch, JudgeBatch):
                judged.append(batch)
                flow.handle(flow.judge(batch, failure="no verdict can be read"))
            else:
                flow.handle(flow.answer(batch) if isinstance(batch, GenerateBatch) else batch)
    with store.reading() as transaction:
        assert resolutions_by_outcome(transaction.ledger.connection)["unscored", None] == 1
    with store.transaction() as transaction:
        assert len(requeue_unscored(transaction.ledger.connection)) == 1
        assert len(requeue_unscored(transaction.ledger.connection)) == 0
    flow.dispatcher.admit()
    (again,) = flow.messages()
    assert isinstance(again, JudgeBatch)
    assert len(again.items) == 2
    flow.handle(flow.judge(judged[0]))  # a verdict on the work of before comes late: that work is no more
    assert states(store) == {"matched": 1}
    flow.handle(flow.judge(again))
    assert states(store) == {"done": 1}
    with store.reading() as transaction:
        assert resolutions_by_outcome(transaction.ledger.connection)["decisive", "judge"] == 1
        (count,) = transaction.preferences.counts()
    assert count.wins_a + count.wins_b == 1


def test_a_prompt_that_fails_again_at_once_is_brought_back_once(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"id": "p", "prompt": "x"})
    flow.dispatcher.admit()

    def refuse() -> None:
        while flow.sent:
            for batch in flow.messages():
                failed = isinstance(batch, GenerateBatch)
                flow.handle(flow.answer(batch, failure="the endpoint refuses") if failed else batch)

    refuse()
    brought_back = []
    for number in bring_back(store, requeue_unanswered):
        brought_back.append(number)
        flow.dispatcher.admit()
        refuse()
        assert states(store) == {"done": 1}
        assert len(brought_back) < 5, "it never ends"
    assert brought_back == [1]
