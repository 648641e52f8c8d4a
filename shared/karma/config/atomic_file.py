"""Files that appear when they are whole, so that nobody reads half of one, under names that nobody can guess."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from karma.errors import KarmaError

#: A file that was not there, and no link.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; what was written there replaces `path` at the end, and is gone after an exception.

    Raises:
        KarmaError: the file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(unfinished, _NEW, 0o666))
        yield unfinished
        unfinished.replace(path)
    except OSError as cause:
        raise KarmaError(f"{path}: cannot be written: {cause.strerror or cause}") from cause
    finally:
        with suppress(OSError):
            unfinished.unlink()


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read; it replaces what was there, a link included.

    Raises:
        KarmaError: the file cannot be written.
    """
    with whole_file(path) as unfinished:
        unfinished.chmod(0o600)
        unfinished.write_text(text)
