"""Signatures: what is not signed for a channel by somebody who holds its key is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.errors import RefusedError, SettingsError
from karma.messages.signing import UNSIGNED, Keyring, channel, channels_of

KEYS = Keyring.read("a secret of thirty-two characters")
WORKER = Keyring.read(None, KEYS.export(channels_of("generation", ["red"])))


def refusal(keys: Keyring, sealed: str) -> str:
    with pytest.raises(RefusedError) as refused:
        keys.open(sealed)
    return refused.value.reason


@given(st.text(), st.sampled_from(["match", "score", "score/red", "generate/a.b-c_1", "ledger"]))
def test_a_sealed_text_is_opened_by_whoever_has_the_key(text: str, name: str) -> None:
    assert KEYS.open(KEYS.seal(name, text)) == (name, text)


@given(st.data())
def test_a_text_that_was_changed_anywhere_is_refused(data: st.DataObject) -> None:
    sealed = KEYS.seal("score/red", '{"message": "score.v2"}')
    place = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.characters().filter(lambda character: character != sealed[place]))
    assert refusal(KEYS, sealed[:place] + other + sealed[place + 1 :]) in ("unsigned", "form", "signature")


def test_a_text_that_is_signed_for_one_channel_is_refused_in_the_name_of_another() -> None:
    mac, _name, text = KEYS.seal("score/red", "{}").split(":")
    assert refusal(KEYS, f"{mac}:score/blue:{text}") == "signature"
    assert refusal(KEYS, f"{mac}:score:{text}") == "signature"


def test_another_secret_has_other_keys() -> None:
    assert refusal(KEYS, Keyring.read("b secret of thirty-two characters").seal("match", "{}")) == "signature"


def test_as_soon_as_there_is_a_key_what_is_unsigned_is_refused() -> None:
    assert UNSIGNED.open("{}") == ("", "{}")
    assert refusal(KEYS, "{}") == "unsigned"
    assert refusal(UNSIGNED, KEYS.seal("match", "{}")) == "no_key"


def test_a_worker_has_the_keys_of_its_models_and_of_nothing_else() -> None:
    assert WORKER.open(KEYS.seal("generate/red", "{}")).text == "{}"
    assert KEYS.open(WORKER.seal("score/red", "{}")).channel == "score/red"
    for name in ("generate/blue", "score/blue", "score", "match", "learn/fair", "ledger"):
        assert refusal(WORKER, KEYS.seal(name, "{}")) == "no_key"
        with pytest.raises(SettingsError, match="no key of"):
            WORKER.seal(name, "{}")


def test_a_work_token_is_of_one_batch_stage_and_target() -> None:
    token = KEYS.token("b1", "generate", "red")
    others = {
        KEYS.token("b2", "generate", "red"),
        KEYS.token("b1", "judge", "red"),
        KEYS.token("b1", "generate", "blue"),
    }
    assert len({token, *others}) == 4
    assert WORKER.token("b1", "generate", "red") == ""


def test_channels_name_stage_and_target() -> None:
    assert channel("score", "red") == "score/red"
    assert channel("match") == "match"
    assert channels_of("judging", ["fair"]) == ["judge/fair", "learn/fair"]
    with pytest.raises(SettingsError, match="needs KARMA_SIGNING_KEY itself"):
        channels_of("scoring", [])


@pytest.mark.parametrize("secret", ["", "short", " " * 40])
def test_a_short_secret_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(SettingsError, match="expected at least 32") as refused:
        Keyring.read(secret)
    assert "short" not in str(refused.value)


@pytest.mark.parametrize(
    "keys", ["generate/red", "generate/red=abc", "nowhere=" + "0" * 64, "generate/red:" + "0" * 64]
)
def test_keys_that_karma_did_not_print_are_refused_without_being_repeated(keys: str) -> None:
    with pytest.raises(SettingsError, match="`karma keys` prints") as refused:
        Keyring.read(None, keys)
    assert "red" not in str(refused.value)


def test_no_key_is_in_what_is_printed_of_a_keyring() -> None:
    assert "secret" not in repr(KEYS)
    assert WORKER.given["score/red"].hex() not in repr(WORKER)
