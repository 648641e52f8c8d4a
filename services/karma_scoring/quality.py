"""Quality of a response by its stream's checker. A checker may be a plug-in: what it does affects one response only."""

from __future__ import annotations

import logging

from karma.errors import UnreadableReferenceError
from karma.plugins.protocols import Checker

log = logging.getLogger(__name__)


def quality_of(is_right: Checker, name: str, text: str, reference: str) -> float | None:
    """The quality of a text in [0, 1]; None if the checker cannot tell, raises, or returns another value.

    Raises:
        UnreadableReferenceError: the fault is the prompt's, and of all its responses.
    """
    try:
        right = is_right(text, reference)
        quality = None if right is None else float(right)
    except UnreadableReferenceError:
        raise
    except Exception as cause:
        # The error's text may quote the response.
        log.warning("the checker %s failed on one response, which gets no quality: %s", name, type(cause).__name__)
        return None
    if quality is not None and not 0.0 <= quality <= 1.0:
        log.warning("the checker %s returned %s, expected a boolean or None: no quality", name, quality)
        return None
    return quality
