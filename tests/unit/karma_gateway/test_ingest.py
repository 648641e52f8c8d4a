"""Ingest: each bad line is refused with its reason, and takes no other with it."""

from __future__ import annotations

import json

import msgspec
import pytest

from karma.messages import Turn
from karma.store import Store
from karma_gateway.ingest import Line, take
from karma_gateway.json_values import RefusedError
from karma_gateway.prompt_lines import read
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
        (b'{"messages": [{"role": "user", "content": "x", "contents": "y"}]}', "did you mean 'content'?"),
        (b'{"messages": [{"role": "system", "content": ""}]}', "no turn but an empty system turn"),
        (b'{"messages": [{"role": "user", "content": "x", "tool_calls": [{"function": {"name": "f"}}]}]}', "only the"),
        (b'{"prompt": "hi", "messages": [{"role": "user", "content": "x"}]}', "found both"),
        (b'{"instruction": "hi", "output": "ho"}', "found the fields instruction, output"),
        (b'{"prompt": "hi", "respones": {}}', "unknown field 'respones' (did you mean 'responses'?)"),
        (b'{"Prompt": "hi"}', "unknown field 'Prompt' (did you mean 'prompt'?)"),
        (b'{"prompt": "hi", "id": 1.0}', 'decimal number 1.0; write it as an integer (1) or a string ("1.0")'),
        (b'{"prompt": "hi", "id": true}', "found a boolean (true)"),
        (b'{"prompt": "hi", "id": ' + b"9" * 300 + b"}", "`id` has 300 characters, more than 256"),
        (b'{"prompt": "hi", "score": NaN}', "NaN is no JSON number"),
        (b'{"prompt": "hi", "score": 1e999}', "the number 1e999 is too large"),
        (b'{"prompt": "hi", "source": "\\ud800"}', "surrogate"),
        (b'{"prompt": "hi", "responses": {"a": 3}}', "the response of 'a' must be a string, found a number (3)"),
        (b'{"prompt": "hi", "responses": {"a": null}}', "`responses` is empty"),
        (b"hello there", "found 'hello there'"),
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


@pytest.mark.parametrize("digits", [1_001, 4_400, 8_000])
@pytest.mark.parametrize("field", ["id", "reference", "score", "skill"])
def test_an_integer_of_thousands_of_digits_is_refused_by_its_line(store: Store, field: str, digits: int) -> None:
    big = b'{"prompt": "x", "%s": %s}' % (field.encode(), b"7" * digits)
    receipt = take(store, "s", lines({"prompt": "a"}, big, {"prompt": "b"}), max_bytes=LIMIT * 10)
    assert receipt.accepted == 2
    assert f"an integer has {digits:,} digits" in receipt.refused[0].reason


def test_an_integer_as_id_is_a_text_of_its_digits() -> None:
    assert read(b'{"prompt": "hi", "id": %s}' % (b"9" * 200), LIMIT).prompt_id == "9" * 200


@pytest.mark.parametrize(
    "line",
    [
        b'\xef\xbb\xbf{"prompt": "hi"}',
        b'{"prompt": "hi", "messages": null, "id": null, "skill": null, "reference": null, "responses": null}',
        b'{"prompt": "hi", "skill": " ", "source": null}',
        b'{"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "hi", "name": null}]}',
        b'{"messages": [{"role": "system", "content": null}, {"role": "user", "content": "hi", "tool_calls": []}]}',
    ],
)
def test_null_and_empty_are_the_same_as_a_missing_field(line: bytes) -> None:
    assert read(line, LIMIT) == read(b'{"prompt": "hi"}', LIMIT)


def test_a_response_that_is_null_is_none() -> None:
    prompt = read(b'{"prompt": "hi", "responses": {"a": "x", "b": null}}', LIMIT)
    assert json.loads(prompt.given or "") == [["a", 0, "x"]]


@pytest.mark.parametrize(
    ("line", "content_hash"),
    [
        ({"prompt": "hi"}, "88418e1cf690c176da4dc69cc5b72a206af03e087533bc5cd53360a963481f4d"),
        (
            {
                "id": "7",
                "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Zwölf?"}],
                "skill": "math",
                "reference": "12",
                "responses": {"a": "12", "b": "elf"},
            },
            "ad11b69d197f8d7bc3211be0e17a04299fd09640e754e05c748e81790dca0665",
        ),
    ],
)
def test_a_line_without_metadata_has_the_content_hash_of_version_0_1(line: object, content_hash: str) -> None:
    """So a file that was enqueued before the upgrade adds nothing."""
    assert read(json.dumps(line).encode(), LIMIT).content_hash == content_hash


def test_unknown_fields_are_the_prompts_metadata() -> None:
    prompt = read('{"prompt": "hi", "source": "ä", "tags": ["x", null], "prompt_id": 7}'.encode(), LIMIT)
    assert json.loads(prompt.metadata or "") == {"source": "ä", "tags": ["x", None], "prompt_id": 7}
    assert prompt.content_hash != read(b'{"prompt": "hi"}', LIMIT).content_hash
    assert read(b'{"prompt": "hi"}', LIMIT).metadata is None


def test_the_order_of_metadata_makes_no_other_prompt(store: Store) -> None:
    batch = lines({"prompt": "a", "x": 1, "y": 2}, {"y": 2, "prompt": "a", "x": 1})
    receipt = take(store, "s", batch, max_bytes=LIMIT)
    assert (receipt.accepted, receipt.present, receipt.refused) == (1, 1, [])


CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def test_turns_of_tools_and_developers_are_kept_and_arguments_become_text() -> None:
    as_object = {"id": "c1", "function": {"name": "add", "arguments": {"a": 1}}}
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "1 + 1?", "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [as_object]},
        {"role": "tool", "content": "", "tool_call_id": "c1"},
    ]
    prompt = read(json.dumps({"messages": turns}).encode(), LIMIT)
    assert json.loads(prompt.messages) == [
        *turns[:2],
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        turns[3],
    ]
    decoded = msgspec.json.decode(prompt.messages, type=tuple[Turn, ...])
    assert json.loads(msgspec.json.encode(decoded)) == json.loads(prompt.messages)


@pytest.mark.parametrize(
    "name", ["preference", "preferences", "prompt_id", "promptId", "referenceId", "skillId", "kill"]
)
def test_a_name_of_its_own_is_metadata_however_similar_it_is(name: str) -> None:
    assert read(json.dumps({"prompt": "hi", name: 1}).encode(), 1000).metadata == json.dumps({name: 1})


@pytest.mark.parametrize("name", ["prompts", "message", "Response", "refrence", "SKILL", "Id", "response1"])
def test_a_near_miss_of_a_known_name_is_refused(name: str) -> None:
    with pytest.raises(RefusedError, match="did you mean"):
        read(json.dumps({"prompt": "hi", name: "x"}).encode(), 1000)


def test_a_turn_as_an_sdk_writes_it_is_read() -> None:
    turn = {
        "role": "assistant",
        "content": "Yo",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "tool_calls": [None],
    }
    parts = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    plain = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yo"},
        {"role": "user", "content": "Hi"},
    ]

    assert json.loads(read(json.dumps({"messages": [parts, turn, parts]}).encode(), 1000).messages) == plain


def test_a_content_of_several_parts_is_refused() -> None:
    parts = [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(RefusedError, match="must be a string, found a list of 2"):
        read(json.dumps({"messages": [{"role": "user", "content": parts}]}).encode(), 1000)


def test_a_null_in_a_list_of_responses_is_none() -> None:
    line = {"prompt": "hi", "responses": [None, {"model": "a", "text": "x"}]}

    assert read(json.dumps(line).encode(), 1000).given == '[["a", 0, "x"]]'
