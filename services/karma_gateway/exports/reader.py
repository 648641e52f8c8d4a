"""Reads preferences from the store, in short transactions, and has an exporter make rows of them."""

from __future__ import annotations

import json
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeAlias

from karma import plugins
from karma.config.settings import Price
from karma.errors import UnrepresentableError
from karma.plugins.protocols import Exporter
from karma.seeds import prompt_seed, seed_of
from karma.store import Store, exported
from karma.store.export_filter import ExportFilter
from karma.store.pair_rows import verdict_rows
from karma.store.records import VerdictRow
from karma.verdicts import TIE_MARGIN
from karma_gateway.exporters import probability_of
from karma_gateway.exports.columns import Columns, Row

EVERYTHING = ExportFilter()

#: Preferences that are read together: 8 MB of long texts.
_READ_AT_ONCE = 1000

#: Rows of the store, and the verdicts on their pairs.
_Page: TypeAlias = tuple[list[Any], dict[int, list[VerdictRow]]]

#: What an exporter gets beside the columns of the store.
_MORE = ("verdicts", "prices", "tie_margin")


class Facts(NamedTuple):
    """What a dataset card counts of a preference."""

    stream: str
    policy: str
    label_source: str
    chosen_model: str
    rejected_model: str
    probability: float  # that the chosen response is better
    chosen_length: int  # characters
    rejected_length: int


class Exported(NamedTuple):
    """A preference as rows of a format."""

    pair: int
    resolved_at: float  # seconds since 1970
    messages: str  # the prompt's turns as JSON
    facts: Facts
    rows: list[Row]

    @property
    def is_predicted(self) -> bool:
        """Whether its label is predicted."""
        return self.facts.label_source == "predicted"

    @property
    def prompt(self) -> int:
        """What is the same for the same prompt (`karma.seeds.prompt_seed`)."""
        return prompt_seed(json.loads(self.messages))


class Known(Protocol):
    """Pairs that were read before."""

    def __contains__(self, pair: int, /) -> bool:
        """Whether a pair is among them."""
        ...

    def add(self, pair: int, resolved_at: float, /) -> None:
        """Note a pair that was resolved at a time, seconds since 1970."""
        ...


class Reader:
    """The preferences that a filter keeps, as rows of one exporter's format.

    Attributes:
        unrepresentable: what the format has no place for → the number of preferences left out for it so far.
        repeated: the number of preferences left out so far as their texts were there before.
    """

    def __init__(
        self,
        store: Store,
        exporter: str,
        kept: ExportFilter = EVERYTHING,
        bare: bool = False,
        prices: Mapping[str, Price] = MappingProxyType({}),
        tie_margin: Callable[[str], float] = lambda _stream: TIE_MARGIN,
    ) -> None:
        self.exporter = exporter
        self.kept = kept
        self.bare = bare
        self.unrepresentable: Counter[str] = Counter()
        self.repeated = 0
        self._store = store
        self._make: Exporter = plugins.find("exporters", exporter)
        self._prices = prices
        self._tie_margin = tie_margin
        self._seen: set[int] = set()  # of texts, for a filter that is `distinct`

    @cached_property
    def columns(self) -> Columns | None:
        """The types of the columns; None if the exporter declares none."""
        declared: Columns | None = getattr(self._make, "columns", None)
        if declared is not None and self.bare:
            return {name: type_ for name, type_ in declared.items() if name != "karma"}
        return declared

    @property
    def mixed(self) -> bool:
        """Whether no two answers to a prompt may be neighbors."""
        return bool(getattr(self._make, "mixed", False))

    @property
    def note(self) -> str:
        """A sentence that a user of the format must know; empty if there is none."""
        return str(getattr(self._make, "note", ""))

    @property
    def entries(self) -> Any:
        """As `karma_gateway.exporters.Format` has it; None without any."""
        return getattr(self._make, "entries", None)

    def read(self, after: int = 0, since: float | None = None, known: Known | None = None) -> Iterator[Exported]:
        """Preferences of pairs with ids above `after`, in order of their ids; those resolved at `since` or later.

        Pairs in `known` are passed over, and all others that are read are added to it.
        """
        margins: dict[str, float] = {}  # by stream
        for chunk, verdicts in self._pages(after, since):
            for row in chunk:
                if known is not None:
                    if row.id in known:
                        continue
                    known.add(row.id, row.resolved_at)
                if self.kept.distinct and self._is_repeated(row):
                    continue
                if row.stream not in margins:
                    margins[row.stream] = self._tie_margin(row.stream)
                more = verdicts.get(row.id, []), self._prices, margins[row.stream]
                try:
                    made = self._make(_preference(row._fields)(*row, *more), self.bare)
                except UnrepresentableError as cause:
                    self.unrepresentable[str(cause)] += 1
                    continue
                rows = [made] if isinstance(made, dict) else list(made)
                yield Exported(row.id, row.resolved_at, row.messages, _facts(row), rows)

    def _pages(self, after: int, since: float | None) -> Iterator[_Page]:
        """All pages. A server reads the next one while rows are made of this one."""
        with ExitStack() as stack:
            page, following = self._page(after, since), None
            aside = (
                stack.enter_context(ThreadPoolExecutor(1)) if self._store.engine.dialect.name == "postgresql" else None
            )
            while len(page[0]) == _READ_AT_ONCE:
                last = page[0][-1].id
                if aside is not None:
                    following = aside.submit(self._page, last, since)
                yield page
                page = self._page(last, since) if following is None else following.result()
            yield page

    def _page(self, after: int, since: float | None) -> _Page:
        with self._store.reading() as transaction:
            chunk = transaction.preferences.export_rows(after, _READ_AT_ONCE, self.kept, since)
            ids = [] if self.bare else [row.id for row in chunk]
            return chunk, verdict_rows(transaction.ledger.connection, ids) if ids else {}

    def newest(self) -> float:
        """When the newest preference was resolved, whatever the filter keeps; 0 without any. Seconds since 1970."""
        with self._store.reading() as transaction:
            return exported.newest(transaction.ledger.connection)

    def left_out(self) -> list[str]:
        """What was left out so far, in one sentence a kind."""
        sentences = [
            f"{count} preferences left out, as {self.exporter} has no place for {what}"
            for what, count in sorted(self.unrepresentable.items())
        ]
        if self.repeated:
            sentences.append(f"{self.repeated} preferences left out, as their prompt and responses were there before")
        return sentences

    def _is_repeated(self, row: Any) -> bool:
        key = seed_of(row.messages, row.chosen_text, row.rejected_text)
        if key in self._seen:
            self.repeated += 1
            return True
        self._seen.add(key)
        return False


@cache
def _preference(columns: tuple[str, ...]) -> Any:
    """The class of the rows that exporters get."""
    return namedtuple("Preference", (*columns, *_MORE))


def _facts(row: Any) -> Facts:
    models = row.chosen_model, row.rejected_model
    lengths = len(row.chosen_text), len(row.rejected_text)
    return Facts(row.stream, row.policy, row.label_source, *models, probability_of(row), *lengths)
