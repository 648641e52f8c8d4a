"""Datasets by their name on the hub or their local folder, read with `datasets` as they stream in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from karma.errors import MissingExtraError, SettingsError
from karma_gateway.json_values import names
from karma_gateway.sources.arrow_rows import first_line, rows_of
from karma_gateway.sources.items import Fault, Item

PREFIX = "hf:"
_ROWS_AT_ONCE = 500


def hub_chunks(name: str, config: str | None, split: str | None) -> Iterator[list[Item]]:
    """The rows of a dataset.

    Args:
        name: on the hub, or a folder: one that `load_dataset` opens, or that `save_to_disk` wrote.
        config: of a dataset with several; None: the default one.
        split: which one; None: the only one, or `train`.

    Raises:
        MissingExtraError: `datasets` is not installed.
        SettingsError: it cannot be opened, or has several splits of which none is `train`.
    """
    try:
        import datasets
    except ImportError as cause:
        raise MissingExtraError("datasets", "hub", f"{PREFIX}{name}") from cause
    datasets.disable_progress_bars()
    found = _split(_opened(datasets, name, config), name, split)
    shown, first = f"{PREFIX}{name}", 1
    for place, part in enumerate(_parts(found)):
        try:
            for table in part.with_format("arrow").iter(batch_size=_ROWS_AT_ONCE):
                for batch in table.to_batches():
                    yield rows_of(batch, shown, first)
                    first += batch.num_rows
        except Exception as cause:  # of any of the libraries below, and of the network
            yield [Fault(shown, 0, f"what is left of its file {place + 1} cannot be read: {first_line(cause)}")]


def _parts(found: Any) -> Iterator[Any]:
    """A split file by file, so that a damaged one takes no other with it."""
    count = getattr(found, "num_shards", 1)
    for place in range(count):
        yield found.shard(num_shards=count, index=place) if count > 1 else found


def _opened(datasets: Any, name: str, config: str | None) -> Any:
    folder = Path(name)
    saved = any((folder / file).is_file() for file in ("state.json", "dataset_dict.json"))
    try:
        return datasets.load_from_disk(name) if saved else datasets.load_dataset(name, config, streaming=True)
    except Exception as cause:  # of any of the libraries below, and of the network
        raise SettingsError(f"{PREFIX}{name}: cannot be opened: {first_line(cause)}") from cause


def _split(opened: Any, name: str, split: str | None) -> Any:
    """The rows of one split."""
    if not isinstance(opened, dict):
        if split is not None:
            raise SettingsError(f"{PREFIX}{name}: has no splits; leave out --split {split}")
        return opened
    if split is None:
        split = next(iter(opened)) if len(opened) == 1 else "train"
        if split not in opened:
            raise SettingsError(f"{PREFIX}{name}: has several splits: {names(list(opened))}; name one: --split NAME")
    if split not in opened:
        raise SettingsError(f"{PREFIX}{name}: has no split {split!r}; it has {names(list(opened))}")
    return opened[split]
