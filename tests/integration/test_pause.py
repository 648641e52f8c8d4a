"""What is paused is not admitted, what was admitted goes on, and everybody can see it."""

from __future__ import annotations

import json
from pathlib import Path

from karma.store import Store
from karma.store.streams import pause, paused, resume
from karma_monitor.status import status
from tests.support.instant import POOL
from tests.support.memory import Flow, make_pool
from tests.support.pipeline import Pipeline


def states(store: Store) -> dict[str, int]:
    with store.reading() as transaction:
        return {state: count for state, count in transaction.ledger.count_states().items() if count}


def stop(store: Store, stream: str | None) -> bool:
    with store.transaction() as transaction:
        return pause(transaction.ledger.connection, stream, transaction.ledger.now)


def go_on(store: Store, stream: str | None) -> bool:
    with store.transaction() as transaction:
        return resume(transaction.ledger.connection, stream)


def test_a_paused_stream_waits_and_the_others_flow(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "x"}, {"prompt": "y"}, stream="stopped")
    flow.accept({"prompt": "z"}, stream="flowing")
    assert stop(store, "stopped")
    flow.finish()
    assert states(store) == {"accepted": 2, "done": 1}
    assert not flow.dispatcher.prompts_wait  # nobody waits for room
    assert go_on(store, "stopped")
    flow.finish()
    assert states(store) == {"done": 3}


def test_while_everything_is_paused_nothing_is_admitted(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "x"}, stream="one")
    flow.accept({"prompt": "y"}, stream="other")
    stop(store, None)
    assert flow.dispatcher.admit() == 0
    assert states(store) == {"accepted": 2}
    go_on(store, None)
    assert flow.dispatcher.admit() == 2


def test_what_was_admitted_before_a_pause_goes_on_to_its_end(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "x"})
    flow.dispatcher.admit()
    stop(store, None)
    flow.accept({"prompt": "late"})
    flow.finish()
    assert states(store) == {"accepted": 1, "done": 1}


def test_a_stream_can_be_paused_before_its_first_prompt_comes(store: Store) -> None:
    stop(store, "not yet")
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "x"}, stream="not yet")
    assert flow.dispatcher.admit() == 0


def test_pausing_twice_is_pausing_once_and_going_on_with_everything_ends_every_pause(store: Store) -> None:
    assert stop(store, "a")
    assert not stop(store, "a")
    assert stop(store, None)
    with store.reading() as transaction:
        assert list(paused(transaction.ledger.connection)) == ["*", "a"]
    assert not go_on(store, "b")
    assert go_on(store, None)
    with store.reading() as transaction:
        assert paused(transaction.ledger.connection) == {}


def test_the_status_says_what_is_paused(store: Store) -> None:
    stop(store, "a")
    assert status(store, None, make_pool())["paused"] == ["a"]


def test_the_command_line_pauses_and_goes_on(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, POOL, "tests.support.instant")
    karma.enqueue([{"prompt": "x"}], "--stream", "mine")
    assert json.loads(karma.call("pause", "mine", "--json").stdout)["paused"] == ["mine"]
    more = karma.call("enqueue", "-", "--stream", "mine", text='{"prompt": "y"}')
    assert "the stream mine is paused: its prompts wait for karma resume mine" in more.stderr
    assert karma.call("pause", "mien", "-q").stdout.split() == ["mien", "mine"]
    assert "the stream 'mien' has no prompt yet" in karma.call("pause", "mien").stderr
    assert karma.status()["paused"] == ["mien", "mine"]
    karma.call("pause")
    assert "everything is paused" in karma.call("resume", "mine").stderr
    assert json.loads(karma.call("resume", "--json").stdout) == {"version": 1, "paused": [], "changed": True}
