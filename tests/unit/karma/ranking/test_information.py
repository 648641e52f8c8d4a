"""The information of a comparison, against independent integration."""

import numpy as np
import pytest
from scipy import special

from karma.ranking.information import normal_cdf, outcome


def test_the_normal_distribution_function_is_right_to_seven_digits() -> None:
    """The stated error bound."""
    x = np.linspace(-9, 9, 2001)

    assert np.abs(normal_cdf(x) - special.ndtr(x)).max() < 1e-7


@pytest.mark.parametrize(
    ("gap", "deviation", "tie"), [(0.0, 0.0, 0.5), (0.7, 0.4, 0.5), (2.0, 1.5, 1.5), (0.0, 2.1, 0.0)]
)
def test_information_and_win_probability_are_their_integrals(gap: float, deviation: float, tie: float) -> None:
    """Against adaptive quadrature, to three digits."""
    from scipy.integrate import quad

    def decisive(x: float) -> float:
        return float(2 * np.cosh(x / 2) / (2 * np.cosh(x / 2) + tie))

    def bits(x: float) -> float:
        p = special.expit(x)
        return decisive(x) * float(special.entr(p) + special.entr(1 - p)) / np.log(2)

    def expected(f: object) -> float:
        if deviation == 0.0:
            return float(f(gap))  # type: ignore[operator]
        low, high = gap - 8 * deviation, gap + 8 * deviation

        def weighed(x: float) -> float:
            density = np.exp(-(((x - gap) / deviation) ** 2) / 2) / (deviation * np.sqrt(2 * np.pi))
            return float(f(x) * density)  # type: ignore[operator]

        return float(quad(weighed, low, high)[0])

    wins = expected(lambda x: decisive(x) * special.expit(x)) / expected(decisive)
    information, win_probability, decided = outcome(np.array(gap), np.array(deviation), tie)
    assert information == pytest.approx(expected(bits), abs=1e-3)
    assert win_probability == pytest.approx(wins, abs=1e-3)
    assert decided == pytest.approx(expected(decisive), abs=1e-3)
