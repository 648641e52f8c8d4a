"""The newest competencies, kept at hand by those who look them up."""

from __future__ import annotations

from karma.ranking.snapshot import Snapshot
from karma.store import Transaction


class LatestSnapshot:
    """Reads a new snapshot only where there is one."""

    def __init__(self) -> None:
        self._snapshot = Snapshot.empty()

    def newest(self, transaction: Transaction) -> Snapshot:
        """The newest snapshot; an empty one, under which all models are unseen models, before the first refit."""
        found = transaction.preferences.latest_snapshot(newer_than=self._snapshot.version)
        if found is not None:
            self._snapshot = Snapshot.from_bytes(found[2])
        return self._snapshot
