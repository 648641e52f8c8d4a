"""One figure of a hard case."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What is said and what is true, or should be."""

    case: str
    what: str
    said: float
    true: float
    error: float  # standard error of `said`
