"""The signing key of a home: made by `karma up` where none is set."""

from __future__ import annotations

import os
import secrets

from karma.config.environment import Environment
from karma.config.home import make_private

_BYTES = 32


def ensure_signing_key(environment: Environment) -> bool:
    """Make the home's signing key, readable by its owner alone, unless a key is set or there is one; returns whether.

    Raises:
        OSError: it cannot be written.
    """
    if environment.keyring().signs:
        return False
    make_private(environment.home)
    try:
        handle = os.open(environment.signing_key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:  # another process was first
        return False
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(_BYTES))
    return True
