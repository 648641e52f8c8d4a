"""Davidson's formulas against their definition, and at gaps that would overflow."""

from __future__ import annotations

import numpy as np
import pytest

from karma.ranking.davidson import log_z, log_z_derivatives, tie_probability, win_given_decisive

GAP, TIE = np.array([-3.0, -0.2, 0.0, 1.0, 4.0]), 0.7
FAR = np.array([-5000.0, 5000.0])


def definition(gap: np.ndarray) -> np.ndarray:
    return np.log(2 * np.cosh(gap / 2) + TIE)


def test_the_functions_are_those_of_the_definition() -> None:
    assert log_z(GAP, TIE) == pytest.approx(definition(GAP))
    assert tie_probability(GAP, TIE) == pytest.approx(TIE / np.exp(definition(GAP)))
    assert win_given_decisive(GAP) == pytest.approx(1 / (1 + np.exp(-GAP)))


def test_the_derivatives_are_those_of_log_z() -> None:
    step = 1e-5
    slope, curvature = log_z_derivatives(GAP, TIE)
    up, down = definition(GAP + step), definition(GAP - step)
    assert slope == pytest.approx((up - down) / (2 * step), abs=1e-8)
    assert curvature == pytest.approx((up - 2 * definition(GAP) + down) / step**2, abs=1e-4)


def test_no_gap_overflows() -> None:
    assert log_z(FAR, TIE) == pytest.approx(2500.0)
    assert tie_probability(FAR, TIE) == pytest.approx(0.0)
    assert win_given_decisive(FAR) == pytest.approx([0.0, 1.0])
    slope, curvature = log_z_derivatives(FAR, TIE)
    assert slope == pytest.approx([-0.5, 0.5])
    assert curvature == pytest.approx(0.0)
