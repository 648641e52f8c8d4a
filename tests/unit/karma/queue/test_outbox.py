"""The outbox composes messages from the store."""

from __future__ import annotations

from karma.messages import ScoreBatch
from tests.support.memory import Flow
from tests.support.stores import memory


def test_the_reasoning_of_a_given_response_is_apart_and_an_unfinished_one_is_no_answer() -> None:
    flow = Flow(memory())
    given = {"a": "<think>Hm.</think>Yes.", "b": "<think>Hm, and", "c": "Plain."}
    flow.accept({"id": "p", "prompt": "?", "responses": given})

    flow.dispatcher.admit()
    (batch,) = flow.messages()

    assert isinstance(batch, ScoreBatch)
    assert {(answer.model, answer.text, answer.reasoning, answer.failure) for answer in batch.items} == {
        ("a", "Yes.", "Hm.", None),
        ("b", None, "Hm, and", "unfinished reasoning: the given response ends within it"),
        ("c", "Plain.", None, None),
    }
