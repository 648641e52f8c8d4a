"""Entries of Redis' lists: what `Publisher` writes is read, everything else is refused."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.virtual import Message

from karma.errors import RefusedError
from karma.queue import entries
from karma.queue.entries import as_delivered, read_entry, write_entry
from karma.queue.guarded_transport import GuardedChannel


def entry(**changes: Any) -> dict[str, Any]:
    """An entry as Celery 5.7 writes it, with changed headers."""
    headers = {
        "lang": "py", "task": "karma.match", "id": "0a", "shadow": None, "eta": None, "expires": None, "group": None,
        "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": "0a", "parent_id": None,
        "argsrepr": "", "kwargsrepr": "{}", "origin": "gen1@host", "ignore_result": True, "replaced_task_nesting": 0,
        "stamped_headers": None, "stamps": {},
    }  # fmt: skip
    return {
        "body": body(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers | changes,
        "properties": {
            "correlation_id": "0a", "reply_to": "x", "delivery_mode": 1, "priority": 9, "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "match"}, "delivery_tag": "1",
        },
    }  # fmt: skip


def body(arguments: Any = ("sealed",), keywords: Any = None, **embedded: Any) -> str:
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None} | embedded
    return b64encode(json.dumps([arguments, keywords or {}, embed]).encode()).decode()


def refusal(value: Any) -> str:
    with pytest.raises(RefusedError) as refused:
        read_entry(value if isinstance(value, bytes) else json.dumps(value).encode())
    return refused.value.reason


@given(st.text(), st.integers(0, 9))
def test_what_is_written_is_read(sealed: str, priority: int) -> None:
    entry = read_entry(write_entry("judge", sealed, "judge.j", priority))
    assert (entry.stage, entry.sealed) == ("judge", sealed)


def test_an_entry_of_karma_is_read() -> None:
    assert read_entry(json.dumps(entry()).encode()) == ("match", "0a", "sealed")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"null", b"[]", b"17", b'"text"', b"\xff\xfe", b"[" * 5_000, b'{"body": 1}'], ids=str
)
def test_what_is_no_message_of_a_task_is_refused(raw: bytes) -> None:
    assert refusal(raw) == "form"


@pytest.mark.parametrize(
    "changes",
    [
        {"eta": "2031-01-01T00:00:00"},
        {"expires": 5},
        {"group": "g"},
        {"compression": "application/x-gzip"},
        {"id": "x" * 300},
        {"id": 7},
    ],
    ids=str,
)
def test_instructions_to_celery_are_refused(changes: dict[str, Any]) -> None:
    assert refusal(entry(**changes)) == "form"


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update({"content-type": "application/x-python-serialize"}),
        lambda one: one.update({"content-encoding": "binary"}),
        lambda one: one["properties"].update({"body_encoding": None}),
        lambda one: one["properties"].update({"priority": 99}),
        lambda one: one.update({"body": "no base64!"}),
        lambda one: one.update({"body": body(callbacks=[{"task": "karma.match"}])}),
        lambda one: one.update({"body": body(chain=[{}])}),
        lambda one: one.update({"body": body(chord={})}),
        lambda one: one.update({"body": body(arguments=["a", "b"])}),
        lambda one: one.update({"body": body(arguments=[7])}),
    ],
)
def test_another_form_of_the_body_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    made = entry()
    change(made)
    assert refusal(made) == "form"


@pytest.mark.parametrize("task", ["celery.backend_cleanup", "karma", "other.match"])
def test_other_tasks_are_refused(task: str) -> None:
    assert refusal(entry(task=task)) == "task"


def test_a_large_entry_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MOST_BYTES", 1_000)
    assert refusal(b"{" + b" " * 1_000) == "size"


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(
    st.sampled_from(["body", "headers", "properties", "content-type", "content-encoding", "task", "id"]), inner
)).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_anything_else_is_refused_and_raises_nothing_else(raw: bytes) -> None:
    assert refusal(raw) == "form"


def test_what_celery_gets_is_made_anew_with_nothing_but_the_text_and_its_queue() -> None:
    raw = json.dumps(entry(argsrepr="from Redis", origin="from Redis")).encode()
    delivered = as_delivered(read_entry(raw), "match")
    assert "from Redis" not in json.dumps(delivered)
    message = Message(delivered, channel=GuardedChannel.__new__(GuardedChannel))
    assert message.headers["task"] == "karma.match"
    assert message.decode() == [["sealed", "match"], {}, {}]
