"""Davidson's model: Bradley–Terry with ties, as functions of the gap between two competencies.

With the gap d = θ_i − θ_j in logits and the tie parameter ν,

    P(i wins) = e^{d/2} / z,   P(tie) = ν / z,   P(j wins) = e^{−d/2} / z,   z = 2 cosh(d/2) + ν

(Davidson 1970, JASA 65, 317–328). Among decisive outcomes i wins with the logistic probability of d (Bradley & Terry
1952, Biometrika 39). Every function takes gaps of any shape, with one ν or one for each, and factors e^{|d|/2} out of
z, so that no gap overflows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def win_given_decisive(gap: Array) -> Array:
    """P(i wins | decisive): the logistic function of the gap."""
    return 0.5 * (1.0 + np.tanh(0.5 * gap))


def log_z(gap: Array, tie: float | Array) -> Array:
    """log(2 cosh(d/2) + ν)."""
    decay = np.exp(-0.5 * np.abs(gap))
    return 0.5 * np.abs(gap) + np.log1p(decay * (decay + tie))


def tie_probability(gap: Array, tie: float | Array) -> Array:
    """P(tie) = ∂ log z / ∂ log ν."""
    decay = np.exp(-0.5 * np.abs(gap))
    return tie * decay / (1.0 + decay * decay + tie * decay)


def log_z_derivatives(gap: Array, tie: float | Array) -> tuple[Array, Array]:
    """First and second derivative of log z with respect to the gap.

    The second is the Fisher information of one comparison about the gap.
    """
    decay = np.exp(-0.5 * np.abs(gap))
    square = decay * decay
    scaled = 1.0 + square + tie * decay  # z e^{−|d|/2}
    first = 0.5 * np.sign(gap) * (1.0 - square) / scaled
    second = (square + 0.25 * tie * decay * (1.0 + square)) / (scaled * scaled)
    return first, second
