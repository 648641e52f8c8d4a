"""Takes prompts from a source into a stream, for one command, and keeps the sum of what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from karma.errors import SettingsError, StoreOutageError
from karma.store import Store
from karma.telemetry.escaping import escape_control
from karma_cli.refusals import Refusals
from karma_gateway.forms.reader import PromptReader
from karma_gateway.ingest import Receipt, take
from karma_gateway.sources.duplicates import Duplicates
from karma_gateway.sources.items import Item


class Intake:
    """Accepts chunks of items.

    Args:
        store: that prompts are committed to.
        stream: that they belong to.
        reader: makes prompts of items.
        refusals: get what is refused.
        duplicates: sorts out duplicates; None: only ids are compared.
        strict: accept all or none.
    """

    def __init__(
        self,
        store: Store,
        stream: str,
        reader: PromptReader,
        refusals: Refusals,
        duplicates: Duplicates | None = None,
        strict: bool = False,
    ) -> None:
        self._store, self._stream, self._strict = store, stream, strict
        self._reader, self._refusals, self._duplicates = reader, refusals, duplicates
        self.receipt = Receipt()
        self.outage: StoreOutageError | None = None

    def take_all(self, chunks: Iterable[Sequence[Item]], on_accepted: Callable[[], object]) -> None:
        """Accept chunks, each in one transaction, until the store is unavailable; `on_accepted` is called after each.

        Raises:
            SettingsError: the source cannot be read, or `strict` and an item is refused.
        """
        try:
            for items in [list(chain.from_iterable(chunks))] if self._strict else chunks:
                if items:  # a source that is followed has none for a while
                    self.take(items)
                    on_accepted()
        except StoreOutageError as cause:
            self.outage = cause

    def take(self, items: Sequence[Item]) -> None:
        """Accept some items in one transaction, and add what came of them to the receipt.

        Raises:
            SettingsError: `strict`, and an item is refused.
        """
        part = take(
            self._store,
            self._stream,
            items,
            max_bytes=self._reader.max_bytes,
            all_or_nothing=self._strict,
            reader=self._reader,
            duplicates=self._duplicates,
        )
        self._refusals.add(part.refused)
        if self._strict and part.refused:
            wrong = f"{len(part.refused)} of {len(items)} lines are wrong"
            raise SettingsError(f"nothing was accepted: {wrong} (--strict)")
        self.receipt.accepted += part.accepted
        self.receipt.present += part.present
        self.receipt.skipped += part.skipped
        self.receipt.kept += part.kept

    @property
    def is_empty(self) -> bool:
        """Whether no item came."""
        receipt = self.receipt
        return not (receipt.accepted or receipt.present or receipt.skipped or self._refusals.count)

    def sentences(self, rejects: Path | None) -> list[str]:
        """Refusals by kind, the forms, and the receipt."""
        receipt, refused = self.receipt, f"{self._refusals.count} refused"
        parts = [f"{receipt.accepted} accepted", f"{receipt.present} already present"]
        if receipt.skipped:
            parts.append(f"{receipt.skipped} duplicates skipped")
        if receipt.kept:
            parts.append(f"{receipt.kept} duplicates kept")
        if rejects is not None and self._refusals.count:
            refused += f" (see {rejects})"
        said = [*self._refusals.sentences(), *self._reader.sentences(), ", ".join([*parts, refused])]
        return [escape_control(sentence) for sentence in said]

    def data(self) -> dict[str, Any]:
        """The same for machines."""
        receipt = self.receipt
        return {
            "accepted": receipt.accepted,
            "present": receipt.present,
            "refused": self._refusals.count,
            "duplicates": {"skipped": receipt.skipped, "kept": receipt.kept},
            "forms": self._reader.data(),
        }
