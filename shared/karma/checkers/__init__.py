"""Checkers: whether a response is right, given the reference answer of its prompt. One function a file.

The verifier judge uses them, scoring does for the quality of responses, and the demo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from karma.errors import SettingsError
from karma.plugins import find

if TYPE_CHECKING:
    from karma.extension_points import Checker


def checker(name: str) -> Checker:
    """The checker of this name, built in or a plug-in.

    Raises:
        SettingsError: there is none of the name, or it cannot be called.
    """
    found = find("checkers", name)
    if not callable(found):
        raise SettingsError(
            f"checker {name!r} is a {type(found).__name__}; expected a function of a text and a reference that "
            "returns whether the text is right"
        )
    return cast("Checker", found)
