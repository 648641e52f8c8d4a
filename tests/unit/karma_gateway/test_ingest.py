"""Ingest: each bad line is refused with its reason, and takes no other with it."""

from __future__ import annotations

import json

import pytest

from karma.store import Store
from karma_gateway.ingest import Line, RefusedError, read, take
from tests.support.stores import memory

LIMIT = 1000


@pytest.fixture
def store() -> Store:
    made = memory()
    return made


def lines(*contents: object) -> list[Line]:
    return [
        Line("f.jsonl", number, content if isinstance(content, bytes) else json.dumps(content).encode())
        for number, content in enumerate(contents, start=1)
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"prompt": "hi"', "not JSON"),
        (b'["hi"]', "expected a JSON object"),
        (b'{"prompt": ""}', "`prompt` is empty"),
        (b'{"prompt": "   "}', "`prompt` is empty"),
        (b'{"prompt": 3}', "must be a string, found a number"),
        (b'{"prompt": "hi", "promt": "x"}', "unknown field 'promt'"),
        (b'{"prompt": "hi", "prompt": "ho"}', "a field occurs twice"),
        (b'{"prompt": "hi", "messages": []}', "exactly one of"),
        (b"{}", "exactly one of"),
        (b'{"messages": []}', "list of turns"),
        (b'{"messages": [{"role": "robot", "content": "x"}]}', "expected one of system, user, assistant"),
        (b'{"messages": [{"role": "assistant", "content": "x"}]}', "the last turn must be the user's"),
        (b'{"prompt": "\xff"}', "not UTF-8: byte 0xff at position 12"),
        (b'{"prompt": "' + b"a" * LIMIT + b'"}', "more than the limit of 1,000"),
        (b'{"prompt": "a\\u0000b"}', "NUL"),
        (b'{"prompt": "\\ud800"}', "surrogate"),
        (b'{"prompt": "hi", "id": ""}', "`id` must be"),
        (b'{"prompt": "hi", "responses": {}}', "`responses` is empty"),
        (b'{"prompt": "hi", "responses": ["x"]}', "`responses` must be"),
        (b"[" * 100_000, "more than the limit"),
        (b"[" * 900, "not JSON"),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=".*".join(map(__import__("re").escape, [reason]))):
        read(content, LIMIT)


def test_the_good_lines_around_a_bad_one_are_accepted(store: Store) -> None:
    receipt = take(store, "s", lines({"prompt": "a"}, b"{", {"prompt": "b"}), max_bytes=LIMIT)
    assert receipt.accepted == 2
    assert [str(refusal)[:17] for refusal in receipt.refused] == ["f.jsonl:2: not JS"]


def test_enqueueing_the_same_lines_twice_adds_nothing(store: Store) -> None:
    batch = lines({"prompt": "a"}, {"prompt": "b", "id": "7"})
    assert take(store, "s", batch, max_bytes=LIMIT).accepted == 2
    again = take(store, "s", batch, max_bytes=LIMIT)
    assert (again.accepted, again.present, again.refused) == (0, 2, [])
    with store.reading() as transaction:
        assert transaction.ledger.count_states()["accepted"] == 2


def test_the_same_id_with_other_content_is_a_conflict_also_within_one_batch(store: Store) -> None:
    receipt = take(store, "s", lines({"prompt": "a", "id": "x"}, {"prompt": "b", "id": "x"}), max_bytes=LIMIT)
    assert receipt.accepted == 1
    assert "exists in stream 's' with other content" in receipt.refused[0].reason


def test_the_same_id_in_another_stream_is_another_prompt(store: Store) -> None:
    for stream in ("s", "t"):
        assert take(store, stream, lines({"prompt": "a", "id": "x"}), max_bytes=LIMIT).accepted == 1


def test_given_responses_are_numbered_by_model() -> None:
    given = [{"model": "m", "text": "1"}, {"model": "n", "text": "2"}, {"model": "m", "text": "3"}]
    prompt = read(json.dumps({"prompt": "a", "responses": given}).encode(), LIMIT)
    assert json.loads(prompt.given or "") == [["m", 0, "1"], ["n", 0, "2"], ["m", 1, "3"]]


def test_a_prompt_and_the_same_single_user_message_have_the_same_content() -> None:
    as_prompt = read(b'{"prompt": "hi"}', LIMIT)
    as_messages = read(b'{"messages": [{"role": "user", "content": "hi"}]}', LIMIT)
    assert as_prompt == as_messages
