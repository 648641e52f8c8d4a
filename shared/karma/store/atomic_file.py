"""Files that appear when they are whole, so that nobody reads half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from karma.errors import KarmaError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; what was written there replaces `path` at the end, and is gone after an exception.

    Raises:
        KarmaError: the file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        unfinished.replace(path)
    except OSError as cause:
        raise KarmaError(f"{path}: cannot be written: {cause.strerror or cause}") from cause
    finally:
        with suppress(OSError):
            unfinished.unlink()
