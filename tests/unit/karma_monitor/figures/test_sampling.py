"""Settings that were left out and identical samples are said wherever a user looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from karma.config.pool import Pool
from karma.messages import GenerateBatch
from karma.store import Store
from karma_monitor.figures.sampling import notices
from karma_monitor.live_status import LiveStatus
from karma_monitor.prometheus import LedgerMetrics
from karma_monitor.status import status
from tests.support.memory import ENDPOINT, Flow
from tests.support.shown import forget_all, value

#: Models a and b, of which b is greedy; two samples of each answer every prompt.
POOL = {
    "models": {
        "a": {**ENDPOINT, "model": "a"},
        "b": {**ENDPOINT, "model": "b", "temperature": 0.0},
    },
    "judges": {"j": {"kind": "openai", "model": {**ENDPOINT, "model": "j"}}},
    "stream": {"goal": "label", "policy": "self"},
    "streams": {"of-a": {"models": ["a"]}, "of-b": {"models": ["b"]}},
}


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store("sqlite://")
    made.create()
    yield made
    made.close()


def answered(store: Store, pool: Pool, text: str | None) -> None:
    """Three prompts for each model, answered by two samples of it; without seed and temperature by a."""
    flow = Flow(store, pool)
    for stream in ("of-a", "of-b"):
        flow.accept(*({"prompt": f"p{number}"} for number in range(3)), stream=stream)
    flow.dispatcher.admit()
    for batch in flow.messages():
        assert isinstance(batch, GenerateBatch)
        scored = flow.answer(batch, text=text)
        if batch.model == "a":
            items = tuple(replace(item, dropped=("temperature", "seed")) for item in scored.items)
            scored = replace(scored, items=items)
        flow.handle(scored)


@pytest.fixture
def pool() -> Pool:
    return Pool.from_tables(POOL, Path("pool.toml"))


def test_identical_samples_and_dropped_settings_are_the_same_on_every_face(store: Store, pool: Pool) -> None:
    answered(store, pool, "the same")
    same = {"compared": 3, "identical": 3}

    shown = status(store, None, pool)["models"]
    live = {one["name"]: one for one in LiveStatus(store, None, pool).read()["endpoints"]}
    forget_all()
    LedgerMetrics(store, None, pool).read_store()

    assert shown["a"]["samples"] == live["a"]["samples"] == same
    assert shown["a"]["dropped"] == live["a"]["dropped"] == {"seed": 6, "temperature": 6}
    assert value("karma_ledger_samples", model="a", identical="yes") == 3
    assert shown["b"]["samples"] is None  # greedy samples are to be identical
    assert (live["b"]["dropped"], live["j"]["dropped"]) == ({}, {})


def test_a_status_says_both_in_words(store: Store, pool: Pool) -> None:
    answered(store, pool, "the same")

    assert list(notices(status(store, None, pool)["models"])) == [
        "a: seed and temperature left out, as its endpoint refuses it",
        "a: 3 of 3 further samples equal the first, although its temperature is above 0",
    ]


def test_samples_that_differ_are_no_notice(store: Store, pool: Pool) -> None:
    answered(store, pool, None)

    assert status(store, None, pool)["models"]["a"]["samples"] == {"compared": 3, "identical": 0}
    assert not any("samples" in notice for notice in notices(status(store, None, pool)["models"]))
