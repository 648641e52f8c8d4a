"""A prompt's novelty is the same whoever finds it, when, and after which others; small plain models say what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.store import Store
from karma_gateway.ingest import Line, take
from karma_matching import novelty
from karma_matching.novelty import Novelty, shingles
from tests.support.stores import emptied_memory

_WORDS = st.lists(st.sampled_from("abc"), min_size=1, max_size=6).map(" ".join)


def store_of(texts: list[tuple[str, str]]) -> Store:
    """A store in memory whose prompts, in order, are (stream, text)."""
    store = emptied_memory()
    for number, (stream, text) in enumerate(texts):
        line = json.dumps({"id": str(number), "prompt": text}).encode()
        assert take(store, stream, [Line("test", number, line)], max_bytes=100_000).accepted == 1
    return store


def plainly(texts: list[tuple[str, str]], id_: int, before: int) -> float:
    """The definition, word for word; ids count from 1."""
    stream, text = texts[id_ - 1]
    had: set[tuple[str, ...]] = set()
    for other, words in texts[max(0, id_ - 1 - before) : id_ - 1]:
        if other == stream:
            had |= _shingles(words)
    mine = _shingles(text)
    return len(mine - had) / len(mine)


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[place : place + 3]) for place in range(max(1, len(words) - 2))}


@given(
    texts=st.lists(st.tuples(st.sampled_from(["x", "y"]), _WORDS), min_size=1, max_size=40),
    before=st.integers(1, 12),
    draw=st.data(),
)
def test_novelty_is_as_defined_in_whatever_order_it_is_asked_for(
    texts: list[tuple[str, str]], before: int, draw: st.DataObject
) -> None:
    store = store_of(texts)
    asked = draw.draw(st.lists(st.lists(st.integers(1, len(texts)), min_size=1, max_size=5), min_size=1, max_size=12))
    found = Novelty()
    with patch.object(novelty, "BEFORE", before), store.reading() as transaction:
        for ids in asked:
            for stream in ("x", "y"):
                mine = [id_ for id_ in ids if texts[id_ - 1][0] == stream]
                expected = {id_: plainly(texts, id_, before) for id_ in mine}
                assert found.of(transaction.ledger, stream, mine) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Name a River in France", lambda text: text.upper()),
        ("Name a River in France", lambda text: text.replace(" ", "\n\n ")),
        ("one", lambda text: f" {text.title()} "),
    ],
)
def test_case_and_white_space_are_nothing_new(text: str, same: Callable[[str], str]) -> None:
    def of(content: str) -> set[int]:
        return shingles(json.dumps([{"role": "user", "content": content}]))

    assert of(text) == of(same(text)) != of(text + " now")


def test_of_a_chat_the_turn_that_is_to_be_answered_counts() -> None:
    chat = [{"role": "system", "content": "be brief and kind"}, {"role": "user", "content": "what is a river"}]
    assert shingles(json.dumps(chat)) == shingles(json.dumps(chat[1:]))


def test_only_what_is_near_is_read_and_kept() -> None:
    store = store_of([("x", f"prompt {number} of many") for number in range(200)])
    found = Novelty()
    with patch.object(novelty, "BEFORE", 10), store.reading() as transaction:
        for id_ in range(1, 201):
            found.of(transaction.ledger, "x", [id_])
        (kept,) = found._windows
        assert 10 <= len(kept.novelty) <= 41
        assert len(kept._last) <= 41 * 2
        assert len(found.of(transaction.ledger, "x", [20, 190])) == 2
        assert [len(one.novelty) <= 41 for one in found._windows] == [True, True]
        for id_ in range(20, 200, 5):
            found.of(transaction.ledger, "x", [id_, 220 - id_])
        assert len(found._windows) <= 16
