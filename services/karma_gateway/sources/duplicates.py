"""Duplicates on the way in: prompts whose text an earlier prompt of the same command had."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeVar

from karma.store.records import NewPrompt

_T = TypeVar("_T")


class Duplicates:
    """Finds duplicates by the hash of their messages, in a temporary table on disk: memory does not grow.

    Args:
        choice: `skip` leaves a duplicate out; `keep` takes it, under an id of its own where it has none.
    """

    def __init__(self, choice: Literal["skip", "keep"]) -> None:
        self._skip = choice == "skip"
        self._seen = sqlite3.connect("", isolation_level=None)  # SQLite removes a database without a name itself
        self._seen.execute("PRAGMA journal_mode = OFF")
        self._seen.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")
        self._seen.execute("BEGIN")

    def sort_out(self, found: Sequence[tuple[_T, NewPrompt]]) -> tuple[list[tuple[_T, NewPrompt]], int, int]:
        """Those of the prompts that are taken, the number of skipped duplicates, and that of kept ones.

        The same input gives the same ids each time, so that a second run adds nothing.
        """
        taken: list[tuple[_T, NewPrompt]] = []
        skipped = kept = 0
        for item, prompt in found:
            times = self._times(prompt.messages)
            if times == 1:
                taken.append((item, prompt))
            elif self._skip:
                skipped += 1
            else:
                kept += 1
                taken.append((item, self._with_id(prompt)))
        return taken, skipped, kept

    def _with_id(self, prompt: NewPrompt) -> NewPrompt:
        """The prompt under the hash of its content and its place among the same, if that hash is all that it has."""
        if prompt.prompt_id != prompt.content_hash[:32]:
            return prompt
        place = self._times(f"content {prompt.content_hash}") + 1
        return replace(prompt, prompt_id=f"{prompt.prompt_id}-{place}")

    def _times(self, text: str) -> int:
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        insert = "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times"
        (times,) = self._seen.execute(insert, (key,)).fetchone()
        return int(times)

    def close(self) -> None:
        """Remove the table."""
        self._seen.close()
