"""Admission: a message starts work only at its own stage and in the name of its signer."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from karma.errors import RefusedError, ReleasedError
from karma.messages import (
    Answer,
    Batch,
    GenerateBatch,
    GenerateItem,
    Header,
    JudgeBatch,
    LearnBatch,
    MatchBatch,
    MatchItem,
    ScoreBatch,
    Turn,
    Verdict,
)
from karma.messages.signing import UNSIGNED, Keyring
from karma.messages.wire import encode
from karma.worker.admission import Memory, admit
from karma.worker.served import Served

KEYS = Keyring.read("a secret of thirty-two characters")


def header(stage: str = "generate", target: str = "red") -> Header:
    return Header(stream="s", batch="b1", token=KEYS.token("b1", stage, target))


def answer(model: str = "red", **fields: Any) -> Answer:
    return Answer(item=1, prompt=1, model=model, sample=0, text="Hi", **fields)


ASKED = GenerateItem(item=1, prompt=1, sample=0, seed=1, messages=(Turn("user", "Hi"),))
GENERATE = GenerateBatch(header=header(), model="red", specification="f", items=(ASKED,))
SCORE = ScoreBatch(header=header(), items=(answer(),))
LEARN = LearnBatch(
    header=header("judge", "fair"), items=(Verdict(item=1, pair=1, prompt=1, judge="fair", order=0, probability=0.9),)
)
MATCH = MatchBatch(header=Header(stream="s", batch="b1", token=""), items=(MatchItem(1, 1),))


def refusal(stage: str, batch: Batch | str, signed_for: str) -> str:
    text = batch if isinstance(batch, str) else encode(batch)
    with pytest.raises(RefusedError) as refused:
        admit(stage, KEYS.seal(signed_for, text), KEYS)
    return refused.value.reason


@pytest.mark.parametrize(
    ("stage", "batch", "signed_for", "sender"),
    [
        ("generate", GENERATE, "generate/red", ""),
        ("score", SCORE, "score/red", "red"),
        ("score", SCORE, "score", ""),
        ("match", MATCH, "match", ""),
        ("learn", LEARN, "learn/fair", "fair"),
        ("learn", LEARN, "learn", ""),
    ],
)
def test_a_message_of_its_own_channel_is_admitted(stage: str, batch: Batch, signed_for: str, sender: str) -> None:
    assert admit(stage, KEYS.seal(signed_for, encode(batch)), KEYS) == (batch, sender)
    assert admit(stage, encode(batch), UNSIGNED) == (batch, "")


@pytest.mark.parametrize(
    ("stage", "batch", "signed_for", "reason"),
    [
        ("score", SCORE, "score/blue", "channel"),  # in another model's name
        ("score", replace(SCORE, items=(answer(), answer("blue"))), "score/red", "channel"),  # about another model
        ("score", SCORE, "generate/red", "channel"),  # what a model is asked is no answer
        ("learn", LEARN, "learn/other", "channel"),
        ("generate", GENERATE, "generate/blue", "channel"),
        ("match", MATCH, "score/red", "channel"),
        ("match", SCORE, "match", "type"),  # of another stage
        ("score", replace(SCORE, header=header("generate", "blue")), "score/red", "token"),
        ("score", replace(SCORE, header=replace(header(), batch="b2")), "score/red", "token"),
        ("score", replace(SCORE, header=replace(header(), token="")), "score/red", "token"),
        ("learn", replace(LEARN, header=header("generate", "fair")), "learn/fair", "token"),
        ("score", "{}", "score/red", "unreadable"),
    ],
)
def test_a_message_that_its_signer_may_not_send_is_refused(
    stage: str, batch: Batch | str, signed_for: str, reason: str
) -> None:
    assert refusal(stage, batch, signed_for) == reason


@pytest.mark.parametrize(
    ("sound", "odd"),
    [
        ('"item":1', '"item":9223372036854775808'),
        ('"item":1', '"item":-1'),
        ('"prompt":1', '"prompt":1e300'),
        ('"sample":0', '"sample":70000'),
        ('"tokens_in":7', '"tokens_in":99999999999999999999'),
        ('"batch":"b1"', '"batch":"b1:x"'),
        ('"batch":"b1"', '"batch":""'),
        ('"priority":0', '"priority":10'),
        ('"part":0', '"part":4294967296'),
        ('"trace":{}', '"trace":{"a":"' + "x" * 700 + '"}'),
        ('"model":"red"', '"model":"' + "r" * 201 + '"'),
    ],
)
def test_a_field_out_of_its_bounds_makes_a_message_unreadable(sound: str, odd: str) -> None:
    text = encode(replace(SCORE, items=(answer(tokens_in=7),)))
    assert sound in text
    assert refusal("score", text.replace(sound, odd, 1), "score/red") == "unreadable"


def test_a_worker_uses_its_own_specification_and_no_other() -> None:
    served = Served({"red": "mine"}, {"red": "f"})
    assert served.asked(GENERATE) == "mine"
    assert served.asked(replace(GENERATE, specification="")) == "mine"  # version 1, where nothing is signed
    with pytest.raises(ReleasedError, match="other settings than this worker's pool file"):
        served.asked(replace(GENERATE, specification="g"))
    with pytest.raises(ReleasedError, match="'blue' is not served"):
        served.asked(replace(GENERATE, model="blue"))
    with pytest.raises(ReleasedError, match="'fair' is not served"):
        served.asked(JudgeBatch(header=header(), judge="fair", specification="f", items=()))


def test_a_process_remembers_what_it_started_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("karma.worker.admission._REMEMBERED", 3)
    memory = Memory()
    for name in "abcd":
        memory.add(name)
    assert [name in memory for name in "abcd"] == [False, True, True, True]
