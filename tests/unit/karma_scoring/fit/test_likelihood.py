"""The derivatives of the likelihood, against finite differences."""

import numpy as np

from karma_scoring.fit.likelihood import Counts, derivatives, log_likelihood, tables_of


def test_the_derivatives_are_those_of_the_likelihood() -> None:
    """First and second, in the competencies and in log ν, with every sign."""
    rng = np.random.default_rng(2)
    first = np.array([0, 1, 2, 0, 2])
    second = np.array([1, 2, 0, 2, 1])
    counts = Counts(np.array([-1, 0, 0, 0, 0]), first, second, *rng.uniform(0, 9, (3, 5)))
    tables = tables_of(counts, models=3, skills=1)
    theta, log_tie, step = rng.normal(0, 1, (2, 4)), -0.3, 1e-5

    found = derivatives(theta, log_tie, tables)

    for row in range(2):
        for column in range(4):
            nudge = np.zeros((2, 4))
            nudge[row, column] = step
            up, down = derivatives(theta + nudge, log_tie, tables), derivatives(theta - nudge, log_tie, tables)
            risen = log_likelihood(theta + nudge, log_tie, tables) - log_likelihood(theta - nudge, log_tie, tables)
            np.testing.assert_allclose(found.theta[row, column], risen / (2 * step), atol=1e-6)
            np.testing.assert_allclose(
                -found.laplacian[row, column], (up.theta - down.theta)[row] / (2 * step), atol=1e-6
            )
            np.testing.assert_allclose(-found.cross[row, column], (up.log_tie - down.log_tie) / (2 * step), atol=1e-6)
    up, down = derivatives(theta, log_tie + step, tables), derivatives(theta, log_tie - step, tables)
    risen = log_likelihood(theta, log_tie + step, tables) - log_likelihood(theta, log_tie - step, tables)
    np.testing.assert_allclose(found.log_tie, risen / (2 * step), atol=1e-6)
    np.testing.assert_allclose(-found.log_tie_curvature, (up.log_tie - down.log_tie) / (2 * step), atol=1e-6)
