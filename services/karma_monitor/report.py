"""TEMPORARY while merging."""

from pathlib import Path

from karma.store import Store


def write(store: Store, path: Path, stream: str | None = None) -> None:
    raise NotImplementedError
