"""The newest resolved pairs, in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

from karma.store import Store
from karma.store.chunks import chunks
from karma.store.pair_rows import pair_records
from karma.store.records import PairRecord
from karma_monitor.queries.recent import newest_resolved, newest_resolved_in

#: Pairs that are kept.
WINDOW = 2_000

_AT_ONCE = 250  # pairs read in one query


class Window:
    """The newest resolved pairs of a stream, or of all.

    When more pairs are resolved than can be read in time, the newest are read: the window is then a sample.
    """

    def __init__(self, store: Store, stream: str | None = None, most: int = WINDOW) -> None:
        self._store = store
        self._stream = stream
        self._most = most
        self._pairs: dict[int, PairRecord] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[PairRecord]:
        return iter(tuple(self._pairs.values()))  # another thread may add pairs meanwhile

    def renew(self, most_s: float) -> None:
        """Read new pairs, for about `most_s` seconds at most.

        Raises:
            StoreOutageError: the store is unavailable.
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
                for record in pair_records(connection, chunk):
                    if record.outcome is not None:
                        self._pairs[record.pair.id] = record
                if time.monotonic() > deadline:
                    break
        if len(newest) < self._most:  # these are all that there are: others were deleted or are judged again
            kept_ids = {pair for pair, _at in newest}
            self._pairs = {id_: record for id_, record in self._pairs.items() if id_ in kept_ids}
        if len(self._pairs) > self._most:
            kept = sorted(self._pairs.values(), key=lambda record: (record.resolved_at, record.pair.id))[-self._most :]
            self._pairs = {record.pair.id: record for record in kept}
