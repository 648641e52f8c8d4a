"""What ended badly is brought back, goes on where it ended, and what was answered is not paid for again."""

from __future__ import annotations

from functools import partial

import pytest

from karma.config.derived_streams import Derivation
from karma.config.pool import Pool
from karma.messages import GenerateBatch, JudgeBatch, Verdict
from karma.store import Store
from karma.store.counting import failed, prompts_without_pair, resolutions_by_outcome
from karma.store.records import Count
from karma.store.requeue import bring_back, requeue_dead, requeue_incomplete, requeue_unanswered, requeue_unscored
from karma_gateway.rematch import derive
from karma_scoring.withdrawal import withdrawal
from tests.support.memory import ENDPOINT, Flow, make_pool


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


def jury(**tables: dict) -> Pool:
    """Two models, each prompt with a pair, and two judges."""
    return make_pool("ab", judges=jury_tables(), **tables)


def jury_tables() -> dict:
    return {name: {"kind": "openai", "model": {**ENDPOINT, "model": name}} for name in ("up", "down")}


def run(flow: Flow, says: dict[str, float | str]) -> dict[str, int]:
    """Everything to its end; judges say P(the longer, then later text is better), or why they fail. Their calls."""
    asked: dict[str, int] = {}
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            if not isinstance(batch, JudgeBatch):
                flow.handle(flow.answer(batch) if isinstance(batch, GenerateBatch) else batch)
                continue
            asked[batch.judge] = asked.get(batch.judge, 0) + len(batch.items)
            said = says[batch.judge]
            given = flow.judge(batch, failure=said if isinstance(said, str) else None)
            if not isinstance(said, str):
                sides = ((one.first, one.second) for one in batch.items)
                better = [said if (len(a), a) > (len(b), b) else 1 - said for a, b in sides]
                fields = [{name: getattr(one, name) for name in one.__struct_fields__} for one in given.items]
                items = tuple(Verdict(**{**one, "probability": p}) for one, p in zip(fields, better, strict=True))
                given = type(given)(header=given.header, items=items)
            flow.handle(given)
    return asked


def incomplete(flow: Flow, stream: str | None = None) -> int:
    return sum(bring_back(flow.store, partial(requeue_incomplete, withdrawal(flow.pool)), stream))


def outcomes(store: Store) -> dict[str, int]:
    with store.reading() as transaction:
        found = resolutions_by_outcome(transaction.ledger.connection)
    return {outcome: number for (outcome, _source), number in found.items() if number}


def learned(store: Store) -> tuple[float, float, float]:
    """Wins of either model and ties, of all counts."""
    with store.reading() as transaction:
        counts = transaction.preferences.counts()
    return sum(one.wins_a for one in counts), sum(one.wins_b for one in counts), sum(one.ties for one in counts)


def test_the_verdicts_of_a_judge_that_was_down_are_asked_for_alone_and_decide_with_the_others(store: Store) -> None:
    flow = Flow(store, jury())
    flow.accept(*({"id": f"p{n}", "prompt": "x", "skill": "talk"} for n in range(3)), stream="mine")
    assert run(flow, {"up": 0.9, "down": "connection dropped"}) == {"up": 6, "down": 6}
    assert outcomes(store) == {"decisive": 3}
    wins_a, wins_b, ties = learned(store)
    assert (wins_a + wins_b, ties) == (3.0, 0.0)

    assert incomplete(flow, "another stream") == 0
    assert incomplete(flow) == 3
    assert incomplete(flow) == 0
    assert outcomes(store) == {}
    assert learned(store) == (0.0, 0.0, 0.0)
    assert run(flow, {"down": 0.1}) == {"down": 6}  # the other way: a tie of both judges
    assert outcomes(store) == {"tie": 3}
    assert learned(store) == (0.0, 0.0, 3.0)
    assert states(store) == {"done": 3}
    with store.reading() as transaction:
        assert failed(transaction.ledger.connection, "verdicts") == 0


def test_a_judge_that_is_still_down_leaves_the_label_as_it_was(store: Store) -> None:
    flow = Flow(store, jury())
    flow.accept({"id": "p", "prompt": "x"})
    run(flow, {"up": 0.9, "down": "timed out after 300 s"})
    before = learned(store)
    assert incomplete(flow) == 1
    run(flow, {"down": "timed out after 300 s"})
    assert (outcomes(store), learned(store)) == ({"decisive": 1}, before)
    assert incomplete(flow) == 1


@pytest.mark.parametrize(
    "reason", ["unparsable verdict: 'Both.'", "no reference", "the probability nan is not in [0, 1]"]
)
def test_a_failure_that_lies_in_the_texts_is_not_asked_for_again(store: Store, reason: str) -> None:
    flow = Flow(store, jury())
    flow.accept({"id": "p", "prompt": "x"})
    run(flow, {"up": 0.9, "down": reason})
    assert incomplete(flow) == 0
    assert outcomes(store) == {"decisive": 1}


def test_prompts_with_pairs_of_both_kinds_come_back_once_with_all_of_them(store: Store) -> None:
    stream = {"responses_per_prompt": 0, "pairs_per_prompt": 0, "policy": "all-pairs"}
    flow = Flow(store, make_pool("abc", judges=jury_tables(), stream=stream))
    flow.accept({"id": "p", "prompt": "x"})
    flow.dispatcher.admit()
    while flow.sent:
        for batch in flow.messages():
            if isinstance(batch, JudgeBatch):
                pair = min(one.pair for one in batch.items)
                down = flow.judge(batch, failure="connection dropped").items
                fine = flow.judge(batch).items
                mixed = tuple(
                    bad if batch.judge == "down" or one.pair == pair else one
                    for one, bad in zip(fine, down, strict=True)
                )
                flow.handle(type(flow.judge(batch))(header=batch.header, items=mixed))
            else:
                flow.handle(flow.answer(batch) if isinstance(batch, GenerateBatch) else batch)
    assert outcomes(store) == {"decisive": 2, "unscored": 1}
    assert incomplete(flow) == 1
    with store.transaction() as transaction:
        assert requeue_unscored(transaction.ledger.connection) == []
    assert run(flow, {"up": 0.9, "down": 0.9}) == {"up": 2, "down": 6}
    assert outcomes(store) == {"decisive": 3}
    assert sum(learned(store)) == pytest.approx(2.0)  # three pairs of three responses count as two comparisons


def test_counts_are_found_where_merges_and_changes_of_a_model_have_moved_them(store: Store) -> None:
    flow = Flow(store, jury())
    flow.accept({"id": "p", "prompt": "x"}, stream="mine")
    run(flow, {"up": 0.9, "down": "connection dropped"})
    with store.transaction() as transaction:
        ((counted),) = transaction.preferences.counts()
        transaction.preferences.merge_counts({counted.bucket: counted.bucket - counted.bucket % 64})
        transaction.preferences.add_counts([Count("judge", "", "a", "b", counted.bucket + 1, 1.0, 2.0, 3.0, 6.0)])
        transaction.preferences.rename_counts("a", f"z#{counted.bucket + 1}", counted.bucket + 1)
        transaction.preferences.rename_counts(f"z#{counted.bucket + 1}", f"a#{counted.bucket + 1}")
    assert incomplete(flow) == 1
    assert learned(store) == (1.0, 2.0, 3.0)


def test_verdicts_that_taught_nothing_take_nothing_back(store: Store) -> None:
    """Those of a derived stream, which has the models of its base."""
    flow = Flow(store, jury())
    flow.accept({"id": "p", "prompt": "x"}, stream="mine")
    run(flow, {"up": 0.9, "down": 0.9})
    before = learned(store)
    derive(store, Derivation("mine", "random"))
    run(flow, {"up": 0.9, "down": "connection dropped"})
    assert incomplete(flow, "mine@random") == 1
    assert learned(store) == before
