"""How new a prompt is to its stream: repeated and templated prompts teach less than their number promises."""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator

from karma.store.ledger import Ledger

#: A prompt is compared with those of its stream among so many that were accepted just before it.
BEFORE = 1_000

#: Of the turn that is to be answered, its first words: what bounds the memory.
_WORDS = 200

#: Streams whose prompts are kept at hand.
_STREAMS = 16


class Novelty:
    """Finds the novelty of prompts. What it keeps is a cache: any worker, at any time, finds the same figures."""

    def __init__(self) -> None:
        self._streams: OrderedDict[str, _Shingles] = OrderedDict()

    def of(self, ledger: Ledger, stream: str, ids: Iterable[int]) -> dict[int, float]:
        """The novelty of these prompts of one stream, each in [0, 1].

        It is the share of the prompt's three-word shingles (Broder 1997, "On the resemblance and containment of
        documents") that none of the prompts before it has: 1 less its containment in them. 0 for a repeated prompt.
        """
        known = self._streams.setdefault(stream, _Shingles(stream))
        self._streams.move_to_end(stream)
        if len(self._streams) > _STREAMS:
            self._streams.popitem(last=False)
        found: dict[int, float] = {}
        for run in _runs(sorted(set(ids))):
            known.cover(ledger, run[0] - BEFORE, run[-1])
            found.update((id_, known.novelty(id_)) for id_ in run)
        return found


class _Shingles:
    """The shingles of a stream's prompts within a span of ids, and the prompts that have each of them."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._span: range = range(0)
        self._of: dict[int, frozenset[int]] = {}
        self._prompts: defaultdict[int, list[int]] = defaultdict(list)  # shingle → ids, ascending

    def cover(self, ledger: Ledger, first: int, last: int) -> None:
        """Read what is not at hand of the prompts from `first` to `last`, and let go of what is far from them."""
        if not (self._span and first <= self._span.stop and self._span.start <= last + 1):
            self._of.clear()
            self._prompts.clear()
            self._span = range(first, first)
        for low, high in ((first, self._span.start - 1), (self._span.stop, last)):
            if low <= high:
                for id_, messages in ledger.messages_between(self._stream, low, high):
                    self._add(id_, shingles(messages))
        self._span = range(min(first, self._span.start), max(last + 1, self._span.stop))
        if len(self._span) > 3 * BEFORE:
            self._keep(range(max(first, last - 2 * BEFORE), last + 1))

    def novelty(self, id_: int) -> float:
        mine = self._of.get(id_, frozenset())
        if not mine:
            return 1.0
        return sum(not self._had_before(one, id_) for one in mine) / len(mine)

    def _had_before(self, shingle: int, id_: int) -> bool:
        having = self._prompts[shingle]
        place = bisect_left(having, id_)
        return place > 0 and having[place - 1] >= id_ - BEFORE

    def _add(self, id_: int, found: frozenset[int]) -> None:
        self._of[id_] = found
        for one in found:
            insort(self._prompts[one], id_)

    def _keep(self, span: range) -> None:
        kept = {id_: found for id_, found in self._of.items() if id_ in span}
        self._of.clear()
        self._prompts.clear()
        for id_, found in sorted(kept.items()):
            self._add(id_, found)
        self._span = span


def shingles(messages: str) -> frozenset[int]:
    """The three-word shingles of the last turn of a chat (JSON), as hashes of this process; of fewer words, the words.

    Case and white space do not count.
    """
    words = json.loads(messages)[-1]["content"].casefold().split()[:_WORDS]
    return frozenset(map(hash, zip(words, words[1:], words[2:], strict=False))) or frozenset({hash(tuple(words))})


def _runs(ids: list[int]) -> Iterator[list[int]]:
    """Ascending ids in runs without wide gaps, so that what lies between far ones is not read."""
    run: list[int] = []
    for id_ in ids:
        if run and (id_ - run[-1] > BEFORE or id_ - run[0] > BEFORE):
            yield run
            run = []
        run.append(id_)
    if run:
        yield run
