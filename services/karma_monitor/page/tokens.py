"""The page's tokens: who may read it, and who may change things too.

A token is 192 random bits. Only its SHA-256 is kept, as the name of a file of this user alone, with its scope inside:
whoever reads the home's files or a backup gets no token, and a token is found without comparing secrets.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from karma.config.atomic_file import write_private

#: `control` includes `read`.
Scope = Literal["read", "control"]

#: How long a token, and the cookie that carries it, is valid.
VALID_S = 30 * 86_400

_NUMBER_BYTES = 24
_MOST_CHARACTERS = 100


class Tokens:
    """The tokens of a `KARMA_HOME`."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "run" / "tokens"

    def mint(self, scope: Scope) -> str:
        """A new token. Those that are no longer valid are removed."""
        for path in self._paths():
            if not _is_valid(path):
                path.unlink(missing_ok=True)
        token = secrets.token_urlsafe(_NUMBER_BYTES)
        write_private(self._path(token), scope)
        return token

    def scope_of(self, token: str) -> Scope | None:
        """What a token allows; None if it is none, or no longer valid."""
        if not token or len(token) > _MOST_CHARACTERS:
            return None
        path = self._path(token)
        try:
            scope = path.read_text() if _is_valid(path) else ""
        except OSError:
            return None
        return next((known for known in get_args(Scope) if known == scope), None)

    def revoke(self) -> int:
        """End all tokens; returns how many there were."""
        paths = self._paths()
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    def _path(self, token: str) -> Path:
        return self._folder / sha256(token.encode("utf-8", "surrogatepass")).hexdigest()

    def _paths(self) -> list[Path]:
        with suppress(OSError):
            return list(self._folder.iterdir())
        return []


def link(url: str, token: str) -> str:
    """The address that opens the page with a token. A fragment is sent to no server, so it is in no log."""
    return f"{url}#token={token}"


def _is_valid(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < VALID_S
    except OSError:
        return False
