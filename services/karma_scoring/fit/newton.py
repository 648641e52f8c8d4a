"""Newton's method for the mode of a concave log posterior over α, each skill's δ, and each source's log ν.

A step eliminates each skill's block by a Schur complement (Boyd & Vandenberghe 2004, appendix C.4), so it costs one
M × M factorization per skill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from karma_scoring.fit.likelihood import Array

_MAX_STEPS = 60
_DECREMENT = 1e-10  # of the log posterior: far below the contribution of one verdict
_LONGEST = 20.0  # step of a log ν; the curvature near the start may be tiny, and e^709 overflows
_ARMIJO = 1e-4  # sufficient increase, Nocedal & Wright (2006), section 3.1


@dataclass(frozen=True, eq=False)
class Point:
    """Values of all parameters, or a direction in parameter space."""

    alpha: Array  # [M+1]
    delta: Array  # [S, M+1]
    log_tie: Array  # [K]

    def theta(self) -> Array:
        """Row 0 is the competency for prompts without a skill."""
        return np.concatenate([self.alpha[None, :], self.alpha + self.delta])

    def moved(self, direction: Point, size: float) -> Point:
        """This point plus a multiple of a direction."""
        return Point(
            self.alpha + size * direction.alpha,
            self.delta + size * direction.delta,
            self.log_tie + size * direction.log_tie,
        )


@dataclass(frozen=True, eq=False)
class Curvature:
    """Gradient and negated Hessian of the log posterior, in blocks: the head (α, log ν), then each skill's δ."""

    head: Array  # [M+1+K, M+1+K]
    border: Array  # [S, M+1, M+1+K]
    block: Array  # [S, M+1, M+1]
    head_gradient: Array  # [M+1+K]
    block_gradient: Array  # [S, M+1]


class LogPosterior(Protocol):
    """A concave function of all parameters."""

    def log_posterior(self, at: Point) -> float:
        """Its value, up to a constant."""
        ...

    def curvature(self, at: Point) -> Curvature:
        """Its derivatives."""
        ...


def mode(problem: LogPosterior, point: Point) -> tuple[Point, int]:
    """The most probable point, and the Newton steps to it."""
    value = problem.log_posterior(point)
    steps = 0
    while steps < _MAX_STEPS:
        curvature = problem.curvature(point)
        direction = _direction(curvature)
        decrement = float(
            curvature.head_gradient @ np.append(direction.alpha, direction.log_tie)
            + np.sum(curvature.block_gradient * direction.delta)
        )
        if decrement < _DECREMENT:
            break
        size = min(1.0, _LONGEST / max(1.0, float(np.abs(direction.log_tie).max(initial=0.0))))
        while size > 1e-8 and problem.log_posterior(point.moved(direction, size)) < value + _ARMIJO * size * decrement:
            size /= 2.0
        if size <= 1e-8:
            break  # no measurable increase is left: the mode to within rounding
        point = point.moved(direction, size)
        value = problem.log_posterior(point)
        steps += 1
    return point, steps


def _direction(curvature: Curvature) -> Point:
    sides = np.concatenate([curvature.border, curvature.block_gradient[:, :, None]], axis=2)
    solved = np.linalg.solve(curvature.block, sides)
    eliminated = (curvature.border.transpose(0, 2, 1) @ solved).sum(axis=0)
    schur = curvature.head - eliminated[:, :-1]
    head = np.linalg.solve(schur, curvature.head_gradient - eliminated[:, -1])
    size = curvature.block.shape[-1]
    return Point(head[:size], solved[:, :, -1] - solved[:, :, :-1] @ head, head[size:])
