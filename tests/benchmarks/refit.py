"""How long a refit of the competencies takes: by default 200 models, 12 skills and ten million verdicts.

The verdicts are simulated, as their counts per pair of models and skill, which is what the store keeps. Measured are
the fit (from nothing, and from the posterior before), the snapshot made of it, and all that a refit does between
reading the counts and storing the snapshot's bytes (`path`: weights, changes, common changes, misfit, tails), in wall
and in CPU seconds; the least of three is printed, as a busy machine only adds to it.

    python -m tests.benchmarks.refit [--models M] [--skills S] [--verdicts N] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from karma.ranking.snapshot_archive import to_bytes
from karma.store.records import Count
from karma_scoring.fit.changes.drift import fit_with_drift, without_former
from karma_scoring.fit.competency import Counts, Posterior, Prior
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.pair_residuals import pair_fit
from karma_scoring.fit.predictions.win_calibration import calibrated_tail
from karma_scoring.fit.prior_scale import fit_with_learned_scale
from karma_scoring.fit.time_buckets import bucket_at

Result = TypeVar("Result")

_TIE = 0.5  # Davidson's ν of the simulated judge
_REPEATS = 3
_NOW = 1.8e9  # seconds since 1970
_BUCKETS = 40
_HALF_LIFE_H = 720.0


def simulated(models: int, skills: int, verdicts: int) -> Counts:
    """Counts of verdicts spread over all pairs and skills, by Davidson's model of competencies from the prior."""
    rng, prior = np.random.default_rng(0), Prior()
    alpha = rng.normal(0, prior.alpha_deviation, models)
    theta = alpha + rng.normal(0, prior.delta_deviation, (skills, models))
    first, second = np.triu_indices(models, 1)
    skill = np.repeat(np.arange(skills), len(first))
    first, second = np.tile(first, skills), np.tile(second, skills)
    gap = theta[skill, first] - theta[skill, second]
    z = 2.0 * np.cosh(gap / 2.0) + _TIE
    won, lost = np.exp(gap / 2.0) / z, np.exp(-gap / 2.0) / z
    number = rng.multinomial(verdicts, np.full(len(skill), 1.0 / len(skill)))
    wins, losses, ties = rng.multinomial(number, np.column_stack([won, lost, 1.0 - won - lost])).T.astype(np.float64)
    return Counts(skill, first, second, wins, losses, ties)


def stored(counts: Counts, names: Sequence[str], labels: Sequence[str]) -> list[Count]:
    """The counts as the store has them, each in one of the last buckets of time."""
    bucket = np.random.default_rng(1).integers(_BUCKETS, size=len(counts.skill)) + bucket_at(_NOW) - _BUCKETS
    columns = (counts.skill, counts.first, counts.second, bucket, counts.wins_first, counts.wins_second, counts.ties)
    return [
        Count("judge", labels[skill], names[first], names[second], at, *verdicts, sum(verdicts))
        for skill, first, second, at, *verdicts in zip(*(column.tolist() for column in columns), strict=True)
    ]


def path(rows: Sequence[Count], names: Sequence[str], before: Posterior | None = None) -> bytes:
    """What `Refitter.refit` computes of a stream without a judge budget."""
    seen = evidence(rows, names, _NOW, _HALF_LIFE_H)
    fitted = fit_with_drift(seen, {}, {}, before)
    made = snapshot(without_former(fitted.posterior), 1, {}, pair_fit(fitted.counts, fitted.posterior))
    return to_bytes(replace(made, win_tail=calibrated_tail(seen, made), common_changes=fitted.common))


def least_s(call: Callable[[], Result]) -> tuple[float, float, Result]:
    """Wall and CPU seconds, each the least of the repeats, with the result."""
    wall, cpu = [], []
    for _ in range(_REPEATS):
        wall_begin, cpu_begin = time.perf_counter(), time.process_time()
        result = call()
        wall.append(time.perf_counter() - wall_begin)
        cpu.append(time.process_time() - cpu_begin)
    return min(wall), min(cpu), result


def measure(models: int, skills: int, verdicts: int) -> dict[str, float]:
    """Seconds by step."""
    counts = simulated(models, skills, verdicts)
    names, labels = [f"model-{m}" for m in range(models)], [f"skill-{s}" for s in range(skills)]
    fit_s, fit_cpu_s, posterior = least_s(lambda: fit_with_learned_scale(counts, names, labels, Prior()))
    warm_s, warm_cpu_s, _ = least_s(lambda: fit_with_learned_scale(counts, names, labels, Prior(), posterior))
    rows = stored(counts, names, labels)
    path_s, path_cpu_s, _ = least_s(lambda: path(rows, names))
    path_warm_s, path_warm_cpu_s, _ = least_s(lambda: path(rows, names, posterior))
    snapshot_s, snapshot_cpu_s, _ = least_s(lambda: snapshot(posterior, version=1))
    return {
        "rows_of_counts": len(counts.skill),
        "newton_steps": posterior.steps,
        "fit_s": fit_s,
        "fit_cpu_s": fit_cpu_s,
        "fit_from_before_s": warm_s,
        "fit_from_before_cpu_s": warm_cpu_s,
        "snapshot_s": snapshot_s,
        "snapshot_cpu_s": snapshot_cpu_s,
        "path_s": path_s,
        "path_cpu_s": path_cpu_s,
        "path_from_before_s": path_warm_s,
        "path_from_before_cpu_s": path_warm_cpu_s,
        "refit_s": fit_s + snapshot_s,
        "refit_cpu_s": fit_cpu_s + snapshot_cpu_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.refit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--skills", type=int, default=12)
    parser.add_argument("--verdicts", type=int, default=10_000_000)
    parser.add_argument("--json", type=Path, metavar="OUT")
    arguments = parser.parse_args()
    figures = measure(arguments.models, arguments.skills, arguments.verdicts)
    for name, value in figures.items():
        print(f"{name:<24} {value:>10.3f}" if name.endswith("_s") else f"{name:<24} {value:>10.0f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
