"""The derivatives of the likelihood, against finite differences."""

import numpy as np

from karma_scoring.fit.likelihood import Counts, derivatives, log_likelihood, tables_of


def test_the_derivatives_are_those_of_the_likelihood() -> None:
    """First and second, in the competencies and in each source's log ν, with every sign."""
    rng = np.random.default_rng(2)
    first = np.array([0, 1, 2, 0, 2])
    second = np.array([1, 2, 0, 2, 1])
    numbers, source = rng.uniform(0, 9, (3, 5)), np.array([1, 0, 1, 0, 1])
    counts = Counts(np.array([-1, 0, 0, 0, 0]), first, second, *numbers, source=source, sources=("x", "y"))
    tables = tables_of(counts, models=3, skills=1, scale=np.array([1.0, 1.7]))
    theta, log_tie, step = rng.normal(0, 1, (2, 4)), np.array([-0.3, 0.8]), 1e-5

    found = derivatives(theta, log_tie, tables)

    assert len(tables.row) == 3  # row 0 has verdicts of one source only
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
    for source_index in range(2):
        nudge = step * np.eye(2)[source_index]
        up, down = derivatives(theta, log_tie + nudge, tables), derivatives(theta, log_tie - nudge, tables)
        risen = log_likelihood(theta, log_tie + nudge, tables) - log_likelihood(theta, log_tie - nudge, tables)
        np.testing.assert_allclose(found.log_tie[source_index], risen / (2 * step), atol=1e-6)
        bent = (up.log_tie - down.log_tie) / (2 * step)
        np.testing.assert_allclose(np.diag(-found.log_tie_curvature)[source_index], bent, atol=1e-6)
