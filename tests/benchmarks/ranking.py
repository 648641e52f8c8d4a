"""How many comparisons it takes to rank a pool of real models, by KARMA's plan, at random, and by round-robin.

A comparison is one prompt, answered by two models and judged. The plan is the product's own (that of the goal `rank`,
every prompt exploring unless told otherwise), and so is the rater; random is the product's own policy of that name,
and round-robin meets every model once before any twice. Nothing is known at the start. Each repetition draws the
order of the prompts, the same for all ways to plan; verdicts come back every 4 prompts, or in batches of 32 prompts
that are planned at once.

Counted is the first comparison at which Spearman's correlation of the competencies with the models' true mean
preference reaches a mark, looked at every 4 verdicts. As many looks find a lucky moment sooner than few, and a batch
that has begun is paid for, the cost of batches is also given with both ways looked at every 32 verdicts.

    python -m tests.benchmarks.ranking [--fit DIR] [--evaluate DIR] [--repetitions N] [--pool M]
        [--explore-share S] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from karma.config.goals import SETTINGS
from karma.ranking.snapshot import Snapshot
from karma_gateway.planning import PlannedPrompt, plan
from karma_scoring.fit.competency import Counts, Posterior, Prior
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.prior_scale import fit_with_learned_scale
from tests.support.alpaca import Recording, add_folders, recordings

Pairs = list[tuple[int, int]]

MARKS = (0.90, 0.95)
_STEP, _BATCH = 4, 32  # verdicts
_LOOKS = (_STEP, _BATCH)
_MOST = 6000  # comparisons: a repetition that never gets there counts as this many, and is reported
_RESAMPLES = 4000


@dataclass(frozen=True)
class Way:
    """A way to choose comparisons, `batch` at a time."""

    name: str
    policy: str  # of the product, or "round-robin"
    batch: int = _STEP


WAYS = (
    Way("planned", SETTINGS["rank"]["policy"]),
    Way("planned, batches of 32", SETTINGS["rank"]["policy"], _BATCH),
    Way("random", "random"),
    Way("round-robin", "round-robin"),
)


class Run:
    """One repetition of one way: buys verdicts batch by batch."""

    def __init__(self, recording: Recording, way: Way, seed: int, explore_share: float) -> None:
        self._recording = recording
        self._way = way
        self._explore_share = explore_share
        self._order = _prompt_order(len(recording.data.prompts), np.random.default_rng(seed))
        self._seeds = np.random.default_rng([seed, 1])
        self._rounds = _round_robin(len(recording.data.models), np.random.default_rng([seed, 2]))
        self._skills = recording.data.skill_indices()
        self._truth = recording.judge.true_preference()
        self._bought: list[tuple[int, int, int, int]] = []  # skill, first, second, verdict

    def comparisons_until(self, marks: Sequence[float], looks: Sequence[int]) -> NDArray[np.int64]:
        """The number of comparisons at which each mark is first seen if looked at every so often, [looks, marks]."""
        reached = np.full((len(looks), len(marks)), _MOST)
        posterior = self._learned(0, None)
        while (reached == _MOST).any() and len(self._bought) < _MOST:
            before = len(self._bought)
            self._buy(posterior)
            for number in range(before + _STEP, len(self._bought) + 1, _STEP):
                posterior = self._learned(number, posterior)
                agreement = self._agreement(posterior)
                seen = (number % np.array(looks)[:, None] == 0) & (agreement >= np.array(marks))
                reached = np.where(seen, np.minimum(reached, number), reached)
        return reached

    def _agreement(self, posterior: Posterior) -> float:
        means = posterior.mean[0, : len(self._truth)]
        return float(spearmanr(means, self._truth).statistic) if np.ptp(means) > 0.0 else 0.0  # only ties so far

    def _buy(self, posterior: Posterior) -> None:
        prompts = [next(self._order) for _ in range(self._way.batch)]
        first, second = np.array(self._pairs(prompts, posterior)).T
        verdicts = self._recording.judge.verdicts(prompts, first, second)
        skills = self._skills[prompts]
        self._bought += zip(skills.tolist(), first.tolist(), second.tolist(), verdicts.tolist(), strict=True)

    def _pairs(self, prompts: list[int], posterior: Posterior) -> Pairs:
        if self._way.policy == "round-robin":
            return [next(self._rounds) for _ in prompts]
        data = self._recording.data
        known: Snapshot = snapshot(posterior, version=1)
        asked = [PlannedPrompt(int(self._seeds.integers(1 << 63)), data.prompts[prompt].skill) for prompt in prompts]
        answers = plan(asked, data.models, self._way.policy, 2, known, explore_share=self._explore_share)
        places = {model: place for place, model in enumerate(data.models)}
        return [(places[first[0]], places[second[0]]) for first, second in answers]

    def _learned(self, number: int, start: Posterior | None) -> Posterior:
        data = self._recording.data
        skill, first, second, verdict = np.array(self._bought[:number], dtype=np.int64).reshape(-1, 4).T
        won, lost, tied = ((verdict == outcome).astype(np.float64) for outcome in (1, -1, 0))
        return fit_with_learned_scale(
            Counts(skill, first, second, won, lost, tied), data.models, data.skills, Prior(), start
        )


def _prompt_order(number: int, rng: np.random.Generator) -> Iterator[int]:
    """All prompts in random order, then all of them again in another."""
    while True:
        yield from rng.permutation(number).tolist()


def _round_robin(models: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Every pair once before any twice, every model once a round, by the circle method; rounds in random order."""
    while True:
        circle = rng.permutation(models).tolist() + ([-1] if models % 2 else [])  # −1 sits the round out
        rounds = []
        for _ in range(len(circle) - 1):
            rounds.append([(circle[place], circle[-1 - place]) for place in range(len(circle) // 2)])
            circle = [circle[0], circle[-1], *circle[1:-1]]
        for turn in rng.permutation(len(rounds)).tolist():
            for first, second in rng.permutation(rounds[turn]).tolist():
                if first >= 0 and second >= 0:
                    yield first, second


def ratio_interval(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> tuple[float, float, float]:
    """Ratio of means over repetitions with its 95 % percentile interval; both share a repetition's prompts."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(numerator), size=(_RESAMPLES, len(numerator)))
    ratios = numerator[drawn].mean(axis=1) / denominator[drawn].mean(axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(numerator.mean() / denominator.mean()), float(low), float(high)


def measure(recording: Recording, repetitions: int, pool: int, explore_share: float) -> NDArray[np.int64]:
    """Comparisons needed, [ways, repetitions, looks, marks]."""
    needed = np.empty((len(WAYS), repetitions, len(_LOOKS), len(MARKS)), dtype=np.int64)
    for seed in range(repetitions):
        models = np.random.default_rng([seed, 3]).permutation(len(recording.data.models))[:pool]
        part = recording.part(range(len(recording.data.prompts)), sorted(models.tolist()))
        for place, way in enumerate(WAYS):
            needed[place, seed] = Run(part, way, seed, explore_share).comparisons_until(MARKS, _LOOKS)
    return needed


def figures(needed: NDArray[np.int64]) -> dict[str, Any]:
    """What is reported of a mark's [ways, repetitions, looks]."""
    planned, batches, chance, rounds = needed[:, :, 0]
    return {
        "comparisons": {
            way.name: {
                "mean": float(values.mean()),
                "median": float(np.median(values)),
                "never": int((values >= _MOST).sum()),
            }
            for way, values in zip(WAYS, needed[:, :, 0], strict=True)
        },
        "ratios": {
            "random / planned": ratio_interval(chance, planned),
            "round-robin / planned": ratio_interval(rounds, planned),
            "random / planned, batches of 32": ratio_interval(chance, batches),
            "batches of 32 / planned": ratio_interval(batches, planned),
            "both looked at every 32": ratio_interval(needed[1, :, 1], needed[0, :, 1]),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.ranking",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_folders(parser)
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument(
        "--pool", type=int, metavar="M", help="rank M models, drawn anew each repetition (default: all)"
    )
    parser.add_argument("--explore-share", type=float, default=1.0, metavar="S", help="of planned ways (default: 1)")
    parser.add_argument("--json", type=Path, metavar="OUT")
    arguments = parser.parse_args()
    _, evaluation = recordings(arguments, fit_prompts=0)  # nothing is known at the start
    models = min(arguments.pool or len(evaluation.data.models), len(evaluation.data.models))
    needed = measure(evaluation, arguments.repetitions, models, arguments.explore_share)
    marks = {f"{mark:.2f}": figures(needed[..., column]) for column, mark in enumerate(MARKS)}
    print(f"{models} models, {len(evaluation.data.prompts)} prompts, {arguments.repetitions} repetitions")
    for mark, found in marks.items():
        print(f"\ncomparisons until Spearman ≥ {mark}      mean   median   never")
        for name, row in found["comparisons"].items():
            print(f"  {name:<34} {row['mean']:>7.0f} {row['median']:>8.0f} {row['never']:>7}")
        for name, (ratio, low, high) in found["ratios"].items():
            print(f"  {name:<34} {ratio:>7.2f}   (95 %: {low:.2f} to {high:.2f})")
    if arguments.json:
        head = {
            "models": models,
            "prompts": len(evaluation.data.prompts),
            "repetitions": arguments.repetitions,
            "explore_share": arguments.explore_share,
            "responses_per_prompt": 2,
        }
        arguments.json.write_text(json.dumps({**head, "marks": marks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
