"""A response whose features cannot be computed, or whose checker cannot tell, affects no other response."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from karma.errors import UnreadableReferenceError
from karma.messages import ScoreBatch
from karma.store.schema import prompts, responses
from karma_scoring import handlers
from karma_scoring.quality import quality_of
from tests.support.memory import LIMITS, Flow, make_pool
from tests.support.stores import memory


def scored(flow: Flow, check: handlers.Check | None) -> list[tuple[str | None, float | None, bool]]:
    flow.accept(*({"prompt": "Say hi", "id": str(n), "reference": str(n)} for n in range(3)))
    flow.dispatcher.admit()
    for message in flow.messages():
        batch = flow.answer(message)  # type: ignore[arg-type]
        assert isinstance(batch, ScoreBatch)
        with flow.store.transaction() as transaction:
            handlers.score(batch, transaction, lambda _stream: check, LIMITS)
    with flow.store.reading() as transaction:
        rows = list(transaction.ledger.connection.execute(select(responses).order_by(responses.c.id)))
    return [(row.text, row.quality, row.features is not None) for row in rows]


def test_a_checker_that_raises_for_one_prompt_leaves_the_others_scored() -> None:
    def is_right(_text: str, reference: str, /) -> bool | None:
        return {"0": True, "1": None}[reference]

    found = scored(Flow(memory(), make_pool("ab")), lambda *both: quality_of(is_right, "c", *both))

    assert sorted((quality is None, quality) for _text, quality, _features in found) == [
        *[(False, 1.0)] * 2,
        *[(True, None)] * 4,
    ]


def test_features_that_cannot_be_computed_are_left_out_of_one_response(monkeypatch: pytest.MonkeyPatch) -> None:
    features, calls = handlers.features, []

    def odd(text: str) -> dict[str, float]:
        calls.append(text)
        if len(calls) == 2:
            raise OverflowError("a secret")
        return features(text)

    monkeypatch.setattr(handlers, "features", odd)

    found = scored(Flow(memory(), make_pool("ab")), None)

    assert [stored for _text, _quality, stored in found].count(False) == 1
    assert all(text is not None for text, _quality, _features in found)


def test_a_prompt_whose_reference_cannot_be_read_ends_as_dead_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    flow = Flow(memory(), make_pool("ab"))

    def is_right(_text: str, reference: str, /) -> bool | None:
        if reference == "1":
            raise UnreadableReferenceError("reference '1' is a secret")
        return True

    found = scored(flow, lambda *both: quality_of(is_right, "c", *both))

    with flow.store.reading() as transaction:
        rows = list(transaction.ledger.connection.execute(select(prompts).order_by(prompts.c.id)))
    assert [(row.state, row.error) for row in rows] == [
        ("answered", None),
        ("dead", "reference '1' is a secret"),
        ("answered", None),
    ]
    assert len(found) == 4
    assert "a secret" not in caplog.text
