"""`KARMA_HOME` is private: prompts, responses, logs and keys lie in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from karma.errors import SettingsError

_OTHERS, _GROUP = stat.S_IRWXO, stat.S_IRGRP


def make_private(home: Path) -> bool:
    """Make a home that only its owner can enter, and let what this process writes be private, too.

    An existing home loses the rights of all other users, and keeps those of its group, which somebody gave on purpose
    (`chmod g+rx`); the group can then read what is written as well. A home of another user is left alone.

    Returns:
        Whether other users could enter until now.

    Raises:
        SettingsError: it cannot be made.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = home.stat()
        os.umask(0o027 if found.st_mode & _GROUP else 0o077)
        if not found.st_mode & _OTHERS or found.st_uid != os.geteuid():
            return False
        home.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    except OSError as cause:
        raise SettingsError(f"KARMA_HOME cannot be used: {home}: {cause.strerror or cause}") from cause
    return True
