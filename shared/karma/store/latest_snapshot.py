"""A cache of the newest snapshot."""

from __future__ import annotations

from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import from_bytes
from karma.store import Transaction


class LatestSnapshot:
    """Reads a snapshot only if it is newer than the cached one."""

    def __init__(self) -> None:
        self._snapshot = Snapshot.empty()

    def newest(self, transaction: Transaction) -> Snapshot:
        """The newest snapshot; before the first refit an empty one, in which all models are unseen."""
        newer = transaction.preferences.latest_snapshot(newer_than=self._snapshot.version)
        if newer is not None:
            self._snapshot = from_bytes(newer[2])
        return self._snapshot
