"""Everything that KARMA raises on purpose. Each message says what was read, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KarmaError(Exception):
    """The request could not be met. The command line prints it without a traceback and exits 1."""

    exit_code = 1


class SettingsError(KarmaError):
    """A setting or an input is wrong: names the file, the key, what was found, what was expected. Exits 2."""

    exit_code = 2


class UnreadableReferenceError(KarmaError, ValueError):
    """A checker cannot read the reference of a prompt, so it can tell of no response whether it is right."""


class MessageError(KarmaError):
    """A message on a queue cannot be read."""


class RefusedError(MessageError):
    """A message or an entry of Redis that KARMA did not write; `reason` is a short label."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


class MissingExtraError(KarmaError):
    """A package of another extra is needed: names the extra and the command that installs it."""

    exit_code = 2

    def __init__(self, package: str, extra: str, what_for: str) -> None:
        super().__init__(f"{what_for} needs the package {package}. Install it with: pip install 'karma[{extra}]'")


class StoreError(KarmaError):
    """The store cannot be opened or is at another revision."""


class BrokerError(KarmaError):
    """Redis cannot be reached."""


class NewerSchemaError(StoreError):
    """A newer version of KARMA migrated the store: this version must not touch it. Exits 78 (EX_CONFIG)."""

    exit_code = 78


class OutageError(KarmaError):
    """A server is unavailable, locked or full: the request can be tried again, and nothing of it was promised."""


class StoreOutageError(StoreError, OutageError):
    """The store cannot be read or written now: unreachable, locked, or its disk is full."""


class SchemaError(StoreOutageError):
    """The store's tables, or this user's rights on them, are not what this version needs.

    It is waited out like an outage and never counts as an attempt: it lasts until somebody repairs the store.
    """


class BrokerOutageError(BrokerError, OutageError):
    """Redis cannot be read or written now: unreachable, loading, out of memory, or its disk is full."""


class ReleasedError(KarmaError):
    """The rest of a batch is released: this process stops, or another worker holds the batch. It is no failure."""


class UnrepresentableError(KarmaError):
    """A format has no place for a preference; the text says for what, and preferences are counted by it."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, or all of them."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else f"; known are: {', '.join(sorted(known)) or 'none'}"
