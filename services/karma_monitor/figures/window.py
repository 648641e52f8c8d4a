"""The pairs that were resolved last, kept at hand: what is new comes in, what is old goes out."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from karma.store import Store
from karma.store.chunks import chunks
from karma.store.export_rows import opinions_on
from karma_monitor.queries.recent import newest_resolved, newest_resolved_in, resolved_pairs

#: Pairs that are kept at hand.
WINDOW = 5_000

_AT_ONCE = 250  # pairs read in one query


@dataclass(frozen=True, slots=True)
class Opinion:
    """One verdict on a pair."""

    judge: str
    shown: int  # 0: a was shown first
    probability: float | None  # that the first shown is better
    failed: bool
    tokens: int | None

    @property
    def for_a(self) -> float | None:
        """The probability that a is better."""
        if self.probability is None:
            return None
        return self.probability if self.shown == 0 else 1.0 - self.probability


@dataclass(frozen=True, slots=True)
class RecentPair:
    """A resolved pair as `quality` reads it, and what else is shown of it. Lengths in characters."""

    id: int
    prompt: int
    stream: str
    policy: str
    response_a: int
    model_a: str
    model_b: str
    length_a: int
    length_b: int
    quality_a: float | None
    quality_b: float | None
    information: float | None
    kinship: float | None
    gap: float | None
    likeness: float | None
    novelty: float | None  # of the prompt
    win_probability: float | None  # that a wins, by the competencies alone
    judged: int
    judged_probability: float
    predicted: float | None
    outcome: str
    chosen: int | None
    flipped: int | None
    label_source: str | None
    probability: float | None
    resolved_at: float
    opinions: tuple[Opinion, ...]

    @property
    def reasons(self) -> str:
        """Of the reasons, what `Quality` looks at; the rest is not kept."""
        return json.dumps({"win_probability": self.win_probability})

    @property
    def chose_a(self) -> bool:
        """Whether a was chosen."""
        return self.chosen == self.response_a


class Window:
    """The newest resolved pairs of a stream, or of all.

    When more is resolved than can be read in time, the newest of it is: the window is then a sample.
    """

    def __init__(self, store: Store, stream: str | None = None, most: int = WINDOW) -> None:
        self._store = store
        self._stream = stream
        self._most = most
        self._pairs: dict[int, RecentPair] = {}
        self.version = 0  # changes with the pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[RecentPair]:
        return iter(tuple(self._pairs.values()))  # another thread may take in more meanwhile

    def renew(self, most_s: float) -> None:
        """Take in what is new, for about so many seconds at most.

        Raises:
            StoreOutageError: the store is away.
        """
        deadline = time.monotonic() + most_s
        with self._store.reading() as transaction:
            connection = transaction.ledger.connection
            if self._stream is None:
                newest = newest_resolved(connection, self._most)
            else:
                newest = newest_resolved_in(connection, self._stream, self._most)
            known = {pair for pair, at in newest if pair in self._pairs and self._pairs[pair].resolved_at == at}
            unknown = [pair for pair, _at in newest if pair not in known]
            for chunk in chunks(unknown, _AT_ONCE):
                self._take(resolved_pairs(connection, chunk), opinions_on(connection, chunk))
                if time.monotonic() > deadline:
                    break
        if len(self._pairs) > self._most:
            kept = sorted(self._pairs.values(), key=lambda pair: (pair.resolved_at, pair.id))[-self._most :]
            self._pairs = {pair.id: pair for pair in kept}

    def _take(self, rows: list[Any], opinions: list[Any]) -> None:
        by_pair: dict[int, list[Opinion]] = defaultdict(list)
        for one in opinions:
            by_pair[one.pair].append(_opinion(one))
        for row in rows:
            if row.outcome is not None:
                self._pairs[row.id] = _recent(row, tuple(by_pair.get(row.id, ())))
                self.version += 1


def _opinion(row: Any) -> Opinion:
    metered = row.tokens_in is not None or row.tokens_out is not None
    tokens = (row.tokens_in or 0) + (row.tokens_out or 0) if metered else None
    return Opinion(row.judge, row.shown, row.probability, row.failure is not None, tokens)


def _recent(row: Any, opinions: tuple[Opinion, ...]) -> RecentPair:
    return RecentPair(
        id=row.id,
        prompt=row.prompt,
        stream=row.stream,
        policy=row.policy,
        response_a=row.response_a,
        model_a=row.model_a,
        model_b=row.model_b,
        length_a=row.length_a or 0,
        length_b=row.length_b or 0,
        quality_a=row.quality_a,
        quality_b=row.quality_b,
        information=row.information,
        kinship=row.kinship,
        gap=row.gap,
        likeness=row.likeness,
        novelty=row.novelty,
        win_probability=json.loads(row.reasons).get("win_probability"),
        judged=row.judged,
        judged_probability=row.judged_probability,
        predicted=row.predicted,
        outcome=row.outcome,
        chosen=row.chosen,
        flipped=row.flipped,
        label_source=row.label_source,
        probability=row.probability,
        resolved_at=row.resolved_at,
        opinions=opinions,
    )
