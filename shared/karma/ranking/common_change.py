"""Common changes: all competencies seemed to change at once; part of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: `scale`: all gaps are larger or smaller by one factor, as by a judge that separates models better or worse.
#: `mixture`: all models moved, as by another mix of topics.
Kind = Literal["scale", "mixture"]


@dataclass(frozen=True)
class CommonChange:
    """Verdicts since then differ from those before, and not by a change of one model."""

    at: float  # seconds since 1970
    kind: Kind
    log_bayes_factor: float  # against no change
