"""Self-preference: how much more often a judge's own models win by its verdicts than by those of others."""

from __future__ import annotations

from dataclasses import dataclass

#: Largest standard error with which an excess is said: 95 % of estimates are then within 5 points of the truth.
MOST_ERROR = 0.025
#: Of the 95 % interval, in standard errors.
Z95 = 1.959964


@dataclass(frozen=True)
class SelfPreference:
    """One judge's verdicts between its own models and others, beside what other judges and references expect."""

    verdicts: int  # pairs of an own model and another on which it took a side
    excess: float | None = None  # share of own wins minus the expected share; None while unknown
    error: float | None = None  # standard error of that difference; None without anything to compare with
    unknown: str | None = None  # why the excess is unknown

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval of the excess."""
        return None if self.excess is None or self.error is None else self.excess - Z95 * self.error

    @property
    def high(self) -> float | None:
        """Upper end of the 95 % interval of the excess."""
        return None if self.excess is None or self.error is None else self.excess + Z95 * self.error
