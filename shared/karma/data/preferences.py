"""`Preferences`: an iterable over the preferences of a store that grows while a model trains on them."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from karma import plugins
from karma.config.environment import Environment
from karma.config.splits import Splits
from karma.data.cursor import Cursor
from karma.data.growth import growth
from karma.errors import SettingsError, StoreOutageError, UnrepresentableError
from karma.seeds import prompt_seed
from karma.store import Store, location
from karma.store.export_filter import ExportFilter
from karma.store.pair_rows import verdict_rows
from karma.store.streams import check_stream
from karma.verdicts import TIE_MARGIN

log = logging.getLogger(__name__)

Row = dict[str, Any]

#: The splits of `split="train"` and `split="test"`, those of `karma export --split train=.9,test=.1`.
SPLITS: Mapping[str, float] = {"train": 0.9, "test": 0.1}


@dataclass
class _Pass:
    """One iteration over the store: where it began and what it gave, by pair."""

    cursor: Cursor
    given: list[int] = field(default_factory=list)


class Preferences:
    """The preferences of a store as rows of a trainer's format, each once, while the store grows.

    An iteration begins at the loaded state, or with the first preference. It ends with the newest one, or waits for
    more; rows come in the order of their pairs as far as these are resolved. The next iteration begins anew, until
    then every one begins at the same row: a trainer that looks at the first row reads nothing.

    Args:
        home_or_url: KARMA's folder, or the URL of its database; None: what the environment says (`KARMA_HOME`,
            `KARMA_DATABASE_URL`).
        exporter: the format, as of `karma export`.
        stream: None: all but derived streams.
        split: of `splits`; None: all prompts. A prompt is in the same split however the store grows.
        splits: name → share of the prompts.
        kept: the filter; None: that of `karma export` without flags.
        wait: for more, once all is read: not (False), for so many seconds since the last one, or for ever (True).
        bare: without the column `karma`.
        shard, shards: only each `shards`-th pair, beginning with number `shard` from 0.
        poll_s: seconds between two looks at the store while waiting.
        on_wait: called before each wait, with the seconds since the last row.

    Attributes:
        left_out: what the format has no place for → the number of preferences left out for it.

    Raises:
        SettingsError: an argument is not as expected, or there is no store.
    """

    def __init__(
        self,
        home_or_url: str | os.PathLike[str] | None = None,
        *,
        exporter: str = "trl-dpo",
        stream: str | None = None,
        split: str | None = None,
        splits: Mapping[str, float] = SPLITS,
        kept: ExportFilter | None = None,
        wait: bool | float = False,
        bare: bool = True,
        shard: int = 0,
        shards: int = 1,
        poll_s: float = 1.0,
        on_wait: Callable[[float], object] | None = None,
    ) -> None:
        if not isinstance(splits, Mapping):
            raise SettingsError(f"splits is {splits!r}, expected shares by name, such as {dict(SPLITS)}")
        if split is not None and split not in splits:
            raise SettingsError(f"split is {split!r}, expected one of {', '.join(splits)}, or splits with it")
        if not 0 <= shard < shards:
            raise SettingsError(f"shard is {shard} of {shards}, expected 0 to {shards - 1}")
        plugins.check("exporters", exporter)
        self._environment = _environment(home_or_url)
        self._store: Store | None = None
        self._exporter, self._bare = exporter, bare
        self._kept = kept or ExportFilter.usual(stream)
        self._split = split
        self._splits = Splits(dict(splits))
        self._wait_s = _seconds(wait)
        self._shard, self._shards = shard, shards
        self._poll_s = poll_s
        self._on_wait = on_wait
        self.left_out: Counter[str] = Counter()
        self._start = Cursor()
        self._pass = _Pass(Cursor())
        self._check()  # errors of the address are errors here
        if getattr(plugins.find("exporters", exporter), "mixed", False):
            raise SettingsError(
                f"the format {exporter} mixes the rows of a whole file; write one with karma export {exporter}"
            )

    # --- iterating ------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Row]:
        """The rows from the loaded state on, or from the first."""
        self._pass = _Pass(self._start.copy())
        return self._rows(self._pass)

    def _rows(self, current: _Pass) -> Iterator[Row]:
        make = plugins.find("exporters", self._exporter)
        store = self._store = self._store or self._open()
        last = time.monotonic()
        while True:
            try:
                for row in growth(store, self._kept, current.cursor):
                    for made in self._made(make, store, row):
                        current.given.append(row.id)
                        yield made
                        last = time.monotonic()
            except StoreOutageError as cause:
                if not self._wait_s:
                    raise
                log.warning("%s; waiting", cause)
            since_s = time.monotonic() - last
            if since_s >= self._wait_s:
                self._start = Cursor()
                return
            if self._on_wait is not None:
                self._on_wait(since_s)
            time.sleep(min(self._poll_s, self._wait_s - since_s))

    def _made(self, make: Any, store: Store, row: Any) -> list[Row]:
        """The rows of a preference; none where it is of another shard or split, or does not fit the format."""
        if row.id % self._shards != self._shard:
            return []
        if self._split is not None and self._splits.of(prompt_seed(json.loads(row.messages))) != self._split:
            return []
        verdicts: list[Any] = []
        if not self._bare:
            with store.reading() as transaction:
                verdicts = verdict_rows(transaction.ledger.connection, [row.id]).get(row.id, [])
        more = {"verdicts": verdicts, "prices": {}, "tie_margin": TIE_MARGIN}
        try:
            made = make(SimpleNamespace(**row._mapping, **more), self._bare)
        except UnrepresentableError as cause:
            self.left_out[str(cause)] += 1
            return []
        return [made] if isinstance(made, dict) else list(made)

    # --- resuming -------------------------------------------------------------------------------------------------

    def state_dict(self, rows: int | None = None) -> dict[str, Any]:
        """Where the latest iteration is, to be saved with a checkpoint, as JSON types.

        Args:
            rows: that were used of those that it gave; trainers read ahead. None: all.

        Raises:
            SettingsError: it gave fewer.
        """
        given = self._pass.given
        rows = len(given) if rows is None else rows
        if not 0 <= rows <= len(given):
            raise SettingsError(f"{rows} rows are said to be used, but {len(given)} were read")
        return self._pass.cursor.before(given[rows:]).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iteration where a state was saved.

        Raises:
            SettingsError: it is no such state.
        """
        self._start = Cursor.from_dict(state)
        self._pass = _Pass(self._start.copy())

    @property
    def rows_read(self) -> int:
        """The rows that the latest iteration gave."""
        return len(self._pass.given)

    # --- other libraries ------------------------------------------------------------------------------------------

    def to_torch(self) -> Any:
        """A `torch.utils.data.IterableDataset`; each worker of a `DataLoader` reads its own share of the pairs."""
        from karma.data.libraries import torch_dataset

        return torch_dataset(self)

    def to_datasets(self) -> Any:
        """A `datasets.IterableDataset`, as TRL's trainers want it; set `max_steps`."""
        from karma.data.libraries import hugging_face_dataset

        return hugging_face_dataset(self)

    def sharded(self, shard: int, shards: int) -> Preferences:
        """These preferences, of which only each `shards`-th pair is read; shards of shards are smaller ones.

        Raises:
            SettingsError: there is no such shard.
        """
        if not 0 <= shard < shards:
            raise SettingsError(f"shard is {shard} of {shards}, expected 0 to {shards - 1}")
        part = Preferences.__new__(Preferences)
        part.__dict__.update(self.__dict__)
        part._shard, part._shards = self._shard + self._shards * shard, self._shards * shards
        part._store, part._pass = None, _Pass(self._start.copy())
        part.left_out = Counter()
        return part

    def __getstate__(self) -> dict[str, Any]:
        """Without the connection: another process opens its own."""
        return self.__dict__ | {"_store": None}

    def _check(self) -> None:
        """Refuse a store that cannot be opened, and a stream that it does not have unless it is waited for."""
        with closing(self._open()) as store, store.reading() as transaction:
            try:
                check_stream(transaction.ledger.connection, self._kept.stream)
            except SettingsError as cause:
                if not self._wait_s:
                    raise
                log.warning("%s; waiting for it", cause)

    def _open(self) -> Store:
        address = self._environment.database
        file = location.sqlite_file(location.parse(address))
        if file is not None and location.is_missing(file):
            raise SettingsError(f"there is no store at {file} yet; karma enqueue FILE makes it")
        store = Store(address, read_only=file is not None and not location.is_writable(file))
        store.require_schema()
        return store


def _seconds(wait: bool | float) -> float:
    """How long is waited for more, in s."""
    if isinstance(wait, bool):
        return float("inf") if wait else 0.0
    if not isinstance(wait, int | float) or not wait >= 0:
        raise SettingsError(f"wait is {wait!r}, expected True, False, or seconds from 0")
    return float(wait)


def _environment(home_or_url: str | os.PathLike[str] | None) -> Environment:
    """The environment in which a store is found."""
    if home_or_url is None:
        return Environment.read(os.environ)
    if isinstance(home_or_url, str) and "://" in home_or_url:
        return Environment.read({**os.environ, "KARMA_DATABASE_URL": home_or_url})
    elsewhere = {name: value for name, value in os.environ.items() if name != "KARMA_DATABASE_URL"}
    return Environment.read({**elsewhere, "KARMA_HOME": str(Path(home_or_url).expanduser())})
