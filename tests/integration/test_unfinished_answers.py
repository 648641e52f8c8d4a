"""What an endpoint did not finish becomes no preference, and reasoning reaches neither judge nor features."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from karma.config.pool import Pool
from karma.messages import GenerateBatch, JudgeBatch
from karma.store import Store
from karma.store.schema import prompts, resolutions, responses
from karma_generation.handlers import generate
from karma_generation.worker import ask
from tests.support.endpoint import Endpoint, pool, serve
from tests.support.memory import Flow

pytestmark = pytest.mark.timeout(60)

ANSWER = "A clear answer."
THOUGHT = "<think>\nA secret draft.\n</think>\n\n"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serve() as running:
        yield running


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store("sqlite://")
    made.create()
    yield made
    made.close()


def run(store: Store, endpoint: Endpoint, text: str, finish: str, **settings: str) -> list[str]:
    """Two prompts through the pipeline; each model answers as given, and its name. Returns what the judge saw."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return {"choices": [{"message": {"content": f"{text} {body['model']}"}, "finish_reason": finish}]}

    endpoint.answer = answer  # type: ignore[method-assign]
    tables = tomllib.loads(pool(endpoint.url))
    for model in tables["models"].values():
        model.update(settings)
    flow = Flow(store, Pool.from_tables(tables, Path("pool.toml")))
    flow.accept({"prompt": "one"}, {"prompt": "two"})
    flow.dispatcher.admit()
    seen: list[str] = []
    while flow.sent:
        for batch in flow.messages():
            if isinstance(batch, GenerateBatch):
                for part in generate(batch, flow.pool.models[batch.model], ask):
                    flow.handle(part)
            elif isinstance(batch, JudgeBatch):
                seen += [text for item in batch.items for text in (item.first, item.second)]
                flow.handle(flow.judge(batch))
            else:
                flow.handle(batch)
    return seen


def rows(store: Store, table: Any) -> list[Any]:
    with store.reading() as transaction:
        return list(transaction.ledger.connection.execute(select(table)))


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        ("An answer that is cut in the mid", "length"),
        ("An answer, but", "content_filter"),
        ("<think>\nOkay, so I shoul", "length"),
    ],
)
def test_what_was_not_finished_is_never_judged(store: Store, endpoint: Endpoint, text: str, finish: str) -> None:
    assert run(store, endpoint, text, finish) == []

    found = rows(store, responses)
    assert len(found) == 4
    assert all(one.text is None and f"finish_reason {finish}" in one.failure for one in found)
    assert {one.finish_reason for one in found} == {finish}
    assert {one.state for one in rows(store, prompts)} == {"done"}
    assert rows(store, resolutions) == []


def test_what_is_kept_is_judged_and_marked(store: Store, endpoint: Endpoint) -> None:
    seen = run(store, endpoint, "An answ", "length", on_length="keep")

    assert set(seen) == {"An answ red", "An answ blue"}
    assert {one.finish_reason for one in rows(store, responses)} == {"length"}


def test_reasoning_is_stored_apart_from_what_is_judged_and_measured(store: Store, endpoint: Endpoint) -> None:
    seen = run(store, endpoint, THOUGHT + ANSWER, "stop")

    assert set(seen) == {f"{ANSWER} red", f"{ANSWER} blue"}
    for one in rows(store, responses):
        assert (one.text, one.reasoning) == (f"{ANSWER} {one.model}", "A secret draft.")
        assert json.loads(one.features)["characters"] == len(one.text)


def test_reasoning_stays_in_the_text_where_the_pool_file_keeps_it(store: Store, endpoint: Endpoint) -> None:
    seen = run(store, endpoint, THOUGHT + ANSWER, "stop", reasoning="keep")

    assert set(seen) == {f"{THOUGHT}{ANSWER} red", f"{THOUGHT}{ANSWER} blue"}
