"""A line through costs of calls by length, for the expected cost of further calls and its variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fit:
    """A least-squares line y = mean + slope (x − x_mean) of n points, for sums over new points."""

    n: int
    mean: float
    x_mean: float
    slope: float
    variance: float  # of a point about the line
    sxx: float

    @classmethod
    def of(cls, points: Sequence[tuple[float, float]]) -> Fit:
        """The line through points (x, y); level where all x are the same."""
        n = len(points)
        x_mean, mean = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
        sxx = sum((x - x_mean) ** 2 for x, _ in points)
        slope = sum((x - x_mean) * (y - mean) for x, y in points) / sxx if sxx > 0 else 0.0
        residuals = sum((y - mean - slope * (x - x_mean)) ** 2 for x, y in points)
        return cls(n, mean, x_mean, slope, residuals / max(1, n - 2), sxx)

    def total(self, xs: Sequence[float]) -> tuple[float, float]:
        """The expected sum over new points, and its variance: of the points, and of the line."""
        n, off = len(xs), sum(xs) - len(xs) * self.x_mean
        of_line = n * n / self.n + (off * off / self.sxx if self.sxx > 0 else 0.0)
        return n * self.mean + self.slope * off, self.variance * (n + of_line)
