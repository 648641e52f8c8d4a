"""A prompt that cannot be paired affects no other prompt of its batch."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from sqlalchemy import select, update

from karma.errors import SettingsError
from karma.messages import GenerateBatch, MatchBatch
from karma.store.schema import pairs, prompts, responses
from karma_matching import handlers
from tests.support.memory import Flow, make_pool
from tests.support.stores import memory


def answered(*ids: str) -> tuple[Flow, MatchBatch]:
    """Prompts that wait to be matched, in one batch."""
    flow = Flow(memory(), make_pool("ab"))
    flow.accept(*({"prompt": f"Say {id_}", "id": id_} for id_ in ids))
    flow.dispatcher.admit()
    for message in flow.messages():
        flow.handle(flow.answer(message))  # type: ignore[arg-type]
    matches = [message for message in flow.messages() if isinstance(message, MatchBatch)]
    assert len(matches) == 1
    return flow, matches[0]


def states(flow: Flow) -> dict[str, tuple[str, str | None]]:
    with flow.store.reading() as transaction:
        query = select(prompts.c.prompt_id, prompts.c.state, prompts.c.no_pair)
        return {row.prompt_id: (row.state, row.no_pair) for row in transaction.ledger.connection.execute(query)}


def test_a_policy_that_raises_for_one_prompt_fails_that_prompt_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, batch = answered("p1", "p2", "p3")
    form = handlers.form
    calls: list[int] = []

    def odd(*args: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("a secret")
        return form(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(handlers, "form", odd)
    flow.handle(batch)

    assert states(flow) == {
        "p1": ("matched", None),
        "p2": ("dead", None),  # `karma requeue dead` matches it again
        "p3": ("matched", None),
    }


def test_a_setting_that_concerns_every_prompt_is_no_prompts_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, batch = answered("p1")

    def unknown(*_args: object) -> object:
        raise SettingsError("no policy is called nosuch")

    monkeypatch.setattr(handlers, "form", unknown)

    with pytest.raises(SettingsError):
        flow.handle(batch)


@pytest.mark.parametrize("stored", ["{", "[]", '{"words": "many"}', "null"])
def test_features_that_cannot_be_read_are_left_out(stored: str) -> None:
    flow, batch = answered("p1", "p2")
    with flow.store.transaction() as transaction:
        transaction.ledger.connection.execute(update(responses).where(responses.c.id == 1).values(features=stored))

    flow.handle(batch)

    with flow.store.reading() as transaction:
        assert len(list(transaction.ledger.connection.execute(select(pairs)))) == 2


def test_a_prompt_whose_lengths_differ_too_much_ends_without_a_pair_and_says_so() -> None:
    flow = Flow(memory(), make_pool("ab", stream={"max_length_ratio": 2.0}))
    flow.accept({"prompt": "Say p1", "id": "p1"}, {"prompt": "Say p2", "id": "p2"})
    flow.dispatcher.admit()
    for message in flow.messages():
        assert isinstance(message, GenerateBatch)
        short, long = ("yes", "no" * 4) if message.model == "a" else ("no way", "yes")  # 3 and 6; 8 and 3
        answered = flow.answer(message)
        texts = {item.item: text for item, text in zip(message.items, (short, long), strict=True)}
        flow.handle(replace(answered, items=tuple(replace(one, text=texts[one.item]) for one in answered.items)))
    for message in flow.messages():
        flow.handle(message)

    assert states(flow) == {"p1": ("matched", None), "p2": ("done", "lengths beyond max_length_ratio only")}
