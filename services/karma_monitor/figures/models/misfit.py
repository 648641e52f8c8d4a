"""Pairs of models whose verdicts contradict their competencies, as plain data and as sentences."""

from __future__ import annotations

from typing import Any

from karma.ranking.misfit import MisfitPair
from karma.ranking.snapshot import Snapshot
from karma.telemetry.escaping import escape_control


def misfit_facts(snapshot: Snapshot) -> dict[str, Any]:
    """The misfit pairs, the largest first, and the p-value of the test of all pairs (None: too few verdicts)."""
    return {
        "p_value": snapshot.pair_fit.p_value,
        "pairs": [misfit_pair(pair) for pair in snapshot.pair_fit.misfit],
    }


def misfit_pair(pair: MisfitPair) -> dict[str, Any]:
    """One pair; shares are of its decisive verdicts."""
    names = ("model_a", "model_b", "observed", "expected", "z")
    return {name: getattr(pair, name) for name in names}


def misfit_sentence(pair: dict[str, Any]) -> str:
    """What is wrong with one pair; names are safe to show on a terminal."""
    a, b = escape_control(pair["model_a"]), escape_control(pair["model_b"])
    return (
        f"{a} won {100 * pair['observed']:.0f} % of the decisive verdicts against {b}, where their competencies expect "
        f"{100 * pair['expected']:.0f} % ({pair['z']:+.1f} standard deviations)"
    )
