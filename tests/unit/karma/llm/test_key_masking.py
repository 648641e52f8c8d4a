"""Keys in what an endpoint says: those that look like one in its own words, and the call's own everywhere."""

from __future__ import annotations

import time
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import msgspec
import pytest

from karma.llm.key_masking import mask, without_key

KEY = "sk-live/0123456789+abcdefghij?~"


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcDEF123456",
        "sk-ab12****9876",
        "Bearer abc.def",
        "Basic dXNlcjpwYXNz",
        "AIzaSyA1234567890abcdefghijk",
        "AKIAABCDEFGHIJKLMNOP",
        "0123456789abcdef0123456789abcdef",
        "gsk_abcdef123456",
        "github_pat_11ABCDEFG0abc",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    ],
)
def test_what_looks_like_a_key_is_masked(key: str) -> None:
    assert mask(f"Incorrect key: {key} given") == "Incorrect key: *** given"


@pytest.mark.parametrize(
    "text", ["no model Meta-Llama-3.1-70B-Instruct-Turbo-Preview", "a basic error", "the key of the model"]
)
def test_names_and_words_are_not_masked(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        quote(KEY, safe=""),
        b64encode(KEY.encode()).decode(),
        urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
        KEY.replace("/", r"\/"),
    ],
)
def test_the_calls_own_key_is_removed_from_a_body_in_its_usual_forms(form: str) -> None:
    body = f'{{"message": {{"content": "it is {form}."}}}}'.encode()

    found = without_key(body, KEY)

    assert KEY[:12].encode() not in found
    assert form[:12].encode() not in found
    assert msgspec.json.decode(found)["message"]["content"].startswith("it is ***")


@pytest.mark.parametrize("key", ["", "EMPTY", "lm-studio", "not-needed", "a"])
def test_a_placeholder_may_be_a_word_of_an_answer(key: str) -> None:
    assert without_key(b'{"content": "a list that is EMPTY"}', key) == b'{"content": "a list that is EMPTY"}'


@pytest.mark.parametrize("text", ["a" * 200_000, "a1" * 100_000, "sk-" * 70_000, "Bearer " * 30_000, "eyJ" * 70_000])
def test_long_texts_cost_little(text: str) -> None:
    started = time.monotonic()
    mask(text)

    assert time.monotonic() - started < 5
