"""Preferences as data sets of torch and of `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import datasets
from torch.utils.data import IterableDataset, get_worker_info

from karma.data.preferences import Preferences, Row


class TorchPreferences(IterableDataset[Row]):  # type: ignore[misc]  # torch is checked without types
    """Preferences for a `torch.utils.data.DataLoader`; its workers share the pairs among them.

    `state_dict` and `load_state_dict` are what torchdata's `StatefulDataLoader` calls.
    """

    def __init__(self, preferences: Preferences) -> None:
        super().__init__()
        self.preferences = preferences
        self._part = preferences

    def __iter__(self) -> Iterator[Row]:
        """The rows of this process."""
        worker = get_worker_info()
        if worker is not None and self._part is self.preferences:
            self._part = self.preferences.sharded(worker.id, worker.num_workers)
        return iter(self._part)

    def state_dict(self) -> dict[str, Any]:
        """Where this process is."""
        return self._part.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin where a process was."""
        worker = get_worker_info()
        if worker is not None and self._part is self.preferences:
            self._part = self.preferences.sharded(worker.id, worker.num_workers)
        self._part.load_state_dict(state)


def torch_dataset(preferences: Preferences) -> TorchPreferences:
    """As torch reads it."""
    return TorchPreferences(preferences)


def hugging_face_dataset(preferences: Preferences) -> datasets.IterableDataset:
    """As `datasets` reads it."""
    return datasets.IterableDataset.from_generator(_Rows(preferences))


class _Rows:
    """A generator function over preferences: `datasets` hashes and calls it."""

    def __init__(self, preferences: Preferences) -> None:
        self.preferences = preferences

    def __call__(self) -> Iterator[Row]:
        yield from self.preferences
