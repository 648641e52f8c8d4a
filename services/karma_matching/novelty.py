"""Novelty of a prompt in its stream: repeated and templated prompts add less information than their number suggests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from karma.store.ledger import Ledger
from karma_matching.stored_json import contents

#: A prompt is compared with the prompts of its stream among the last 1,000 accepted before it.
BEFORE = 1_000

#: Words of the last turn that count; this bounds the memory.
_WORDS = 200

#: Most windows in memory; a stream has several if its prompts come from distant parts of the ledger.
_WINDOWS = 16


class Novelty:
    """Computes the novelty of prompts. Its state is a cache: all workers compute the same values at any time."""

    def __init__(self) -> None:
        self._windows: list[_Window] = []  # in order of their last use

    def of(self, ledger: Ledger, stream: str, ids: Iterable[int]) -> dict[int, float]:
        """The novelty of these prompts of one stream, each in [0, 1].

        It is the share of the prompt's three-word shingles (Broder 1997, "On the resemblance and containment of
        documents") that no earlier prompt has: 1 − its containment in them. 0 for a repeated prompt.
        """
        novelty: dict[int, float] = {}
        for run in _runs(sorted(set(ids))):
            window = self._window(stream, run[0])
            window.read_to(ledger, run[-1])
            novelty.update((id_, window.novelty[id_]) for id_ in run)
        return novelty

    def _window(self, stream: str, first: int) -> _Window:
        window = next((known for known in self._windows if known.reaches(stream, first)), _Window(stream, first))
        others = [known for known in self._windows if known is not window]
        self._windows = [*others[1 - _WINDOWS :], window]
        return window


class _Window:
    """A range of a stream, read once and in order, with the shingles of the prompts before each prompt."""

    def __init__(self, stream: str, first: int) -> None:
        self._stream = stream
        self._known_from = first  # from this prompt on, all earlier text that counts was read
        self._next = first - BEFORE  # the first unread id
        self._last: dict[int, int] = {}  # shingle → the last prompt that has it
        self.novelty: dict[int, float] = {}

    def reaches(self, stream: str, first: int) -> bool:
        return self._stream == stream and self._known_from <= first <= self._next + BEFORE

    def read_to(self, ledger: Ledger, last: int) -> None:
        if last < self._next:
            return
        for id_, messages in ledger.messages_between(self._stream, self._next, last):
            mine, oldest = shingles(messages), id_ - BEFORE
            new = sum(self._last.get(shingle, oldest - 1) < oldest for shingle in mine)
            self.novelty[id_] = new / len(mine)
            self._last.update(dict.fromkeys(mine, id_))
        self._next = last + 1
        if self._next - self._known_from > 4 * BEFORE:
            self._forget(self._next - 2 * BEFORE)

    def _forget(self, before: int) -> None:
        self._known_from = before
        self.novelty = {id_: value for id_, value in self.novelty.items() if id_ >= before}
        self._last = {shingle: id_ for shingle, id_ in self._last.items() if id_ >= self._next - BEFORE}


def shingles(messages: str) -> set[int]:
    """The three-word shingles of the last turn of a chat (JSON), as hashes of this process.

    A turn of fewer words is one shingle. Case and white space do not count.
    """
    words = contents(messages)[-1].casefold().split(maxsplit=_WORDS)[:_WORDS]
    return set(map(hash, zip(words, words[1:], words[2:], strict=False))) or {hash(tuple(words))}


def _runs(ids: list[int]) -> Iterator[list[int]]:
    """Splits ascending ids into runs, so that prompts between distant ids are not read."""
    run: list[int] = []
    for id_ in ids:
        if run and id_ - run[0] > BEFORE:
            yield run
            run = []
        run.append(id_)
    if run:
        yield run
