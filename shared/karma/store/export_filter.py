"""The filter of an export: which preferences the store gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from karma.config.goals import LEAST_SURE

#: Least probability of a predicted label in an export, by default: a label that is hardly better than a coin flip
#: teaches nothing.
LEAST_PREDICTED = 0.6


@dataclass(frozen=True)
class ExportFilter:
    """Which preferences an export contains."""

    stream: str | None = None  # None: of all but derived streams
    label_source: Literal["judge", "predicted"] | None = None  # None: both
    least_probability: float = 0.5  # that the chosen response is better
    least_predicted: float = 0.5  # the same of a predicted label, where a tie does not count as better
    least_sure: float | None = None  # the same of a label that the posterior was sure of; None: as other predicted ones
    max_length_ratio: float | None = None  # characters of the longer response / those of the shorter one; None: any
    finished: bool = False  # only where both responses ended by themselves, as far as is known
    policies: Sequence[str] = ()  # of these only; empty: of all
    skills: Sequence[str] = ()  # the same
    distinct: bool = False  # of preferences with the same texts, only the first

    @property
    def is_narrow(self) -> bool:
        """Whether it goes by more than what the counts of resolutions tell: outcome, source and certainty."""
        of_rows = (self.stream, self.max_length_ratio)
        return any(value is not None for value in of_rows) or any(
            (self.finished, self.policies, self.skills, self.distinct)
        )

    @classmethod
    def usual(cls, stream: str | None = None) -> ExportFilter:
        """What `karma export` keeps without flags.

        A label that a stream of the goal `train` was sure of is one, whatever the probability of a tie.
        """
        return cls(stream, least_predicted=LEAST_PREDICTED, least_sure=LEAST_SURE)
