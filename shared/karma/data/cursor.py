"""Which preferences of a growing store were read: a cursor that fits into a checkpoint.

Pairs are resolved in another order than they were formed in, so one number does not say what was read. A cursor is the
highest id of a pair that was looked at and those below that were not read yet; as most pairs below are read or came to
no preference, these are few.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from karma.errors import SettingsError

_VERSION = 1
_EXPECTED = "expected what Preferences.state_dict() returned"


@dataclass
class Cursor:
    """What was read of a store: all pairs up to `after`, but for those in `unread`."""

    after: int = 0  # highest id of a pair that was looked at
    unread: set[int] = field(default_factory=set)  # ids of pairs up to `after`
    deletion: int = 0  # newest deletion of a stream that is considered

    def copy(self) -> Cursor:
        """The same, to be changed."""
        return Cursor(self.after, set(self.unread), self.deletion)

    def advance(self, last: int) -> None:
        """Look at the pairs up to `last`, none of which is read yet."""
        self.unread.update(range(self.after + 1, last + 1))
        self.after = max(self.after, last)

    def read(self, pairs: Iterable[int]) -> None:
        """Read pairs, or know that they came to no preference."""
        self.unread.difference_update(pairs)

    def forget_above(self, newest: int) -> None:
        """Ids above `newest` were freed by a deletion, and may name other pairs now."""
        self.after = min(self.after, newest)
        self.unread = {pair for pair in self.unread if pair <= newest}

    def before(self, pairs: Iterable[int]) -> Cursor:
        """The cursor before these pairs were read; those above `after` are looked at again anyway."""
        earlier = self.copy()
        earlier.unread.update(pair for pair in pairs if pair <= self.after)
        return earlier

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; ids that follow each other are ranges."""
        ranges: list[list[int]] = []
        for pair in sorted(self.unread):
            if ranges and ranges[-1][1] == pair - 1:
                ranges[-1][1] = pair
            else:
                ranges.append([pair, pair])
        return {"version": _VERSION, "after": self.after, "unread": ranges, "deletion": self.deletion}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Cursor:
        """From the result of `to_dict`.

        Raises:
            SettingsError: it is something else.
        """
        try:
            version, after, ranges, deletion = (state[name] for name in ("version", "after", "unread", "deletion"))
            unread = {pair for first, last in ranges for pair in range(first, last + 1)}
        except (KeyError, TypeError, ValueError) as cause:
            raise SettingsError(f"the state is no cursor: {type(cause).__name__} {cause}; {_EXPECTED}") from None
        if version != _VERSION:
            raise SettingsError(f"the cursor is of version {version!r}, expected {_VERSION}; {_EXPECTED}")
        return cls(int(after), unread, int(deletion))
