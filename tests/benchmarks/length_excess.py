"""How much more often the longer response wins than the models' competencies explain, on recorded verdicts.

`KARMA_BENCH_DATA=… python -m tests.benchmarks.length_excess [--pairs N] [--json OUT]` draws pairs of answers, fits
Bradley–Terry competencies to their decisive verdicts, and prints for random pairs, for pairs drawn by information, and
for close kin: the share in which the longer response wins, what competency expects, and the difference.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.support.alpaca import load

Array = NDArray[np.float64]

_STEPS = 60
_KIN_LOGITS = 0.4


def measure(folder: Path, pairs: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Shares of the decisive pairs between unequal lengths."""
    recording = load(folder)
    data, draw = recording.data, np.random.default_rng(seed)
    models = len(data.models)
    prompt = draw.integers(0, len(data.prompts), pairs)
    first = draw.integers(0, models, pairs)
    second = (first + draw.integers(1, models, pairs)) % models
    verdict = recording.judge.verdicts(prompt, first, second)
    lengths = np.array([[len(text) for text in row] for row in data.outputs])
    longer = np.sign(lengths[prompt, first] - lengths[prompt, second])
    kept = (verdict != 0) & (longer != 0)
    first, second, verdict, longer = first[kept], second[kept], verdict[kept], longer[kept]
    chance = _chances(first, second, verdict > 0, models)
    wins = verdict == longer
    expected = np.where(longer > 0, chance, 1 - chance)
    bits = -(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance))
    parts = {
        "random": np.ones(len(chance), dtype=bool),
        "informative": draw.random(len(chance)) < bits,
        "kin": np.abs(np.log(chance / (1 - chance))) < _KIN_LOGITS,
    }
    return {
        name: {
            "longer wins": float(wins[part].mean()),
            "expected": float(expected[part].mean()),
            "excess": float((wins[part] - expected[part]).mean()),
        }
        for name, part in parts.items()
    }


def _chances(first: NDArray[np.int64], second: NDArray[np.int64], won: NDArray[np.bool_], models: int) -> Array:
    """Bradley–Terry chances of the first model, by Newton's method with a slight pull to 0."""
    worth = np.zeros(models)
    rows = np.arange(len(first))
    design = np.zeros((len(first), models))
    design[rows, first], design[rows, second] = 1.0, -1.0
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-(design @ worth)))
        curvature = design.T @ ((chance * (1 - chance))[:, None] * design) + 1e-3 * np.eye(models)
        step = np.linalg.solve(curvature, design.T @ (won - chance) - 1e-3 * worth)
        worth += step
        if np.abs(step).max() < 1e-9:
            break
    found: Array = 1 / (1 + np.exp(-(design @ worth)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.length_excess",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--json", type=Path, metavar="OUT")
    arguments = parser.parse_args()
    if "KARMA_BENCH_DATA" not in os.environ:
        raise SystemExit("no recorded answers: set KARMA_BENCH_DATA to their folder")
    found = measure(Path(os.environ["KARMA_BENCH_DATA"]), arguments.pairs)
    for name, figures in found.items():
        print(f"{name:<12}" + "".join(f"  {what} {value:.3f}" for what, value in figures.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
