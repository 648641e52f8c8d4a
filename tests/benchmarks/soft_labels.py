"""What DPO makes of the probabilities of labels: one stream of the goal `train`, used in several ways.

For each weak policy (`weak_policies`) and seed: one stream of `train/target`, then DPO with TRL on its rows

- `plain`: as they are, with the losses sigmoid and sft;
- `at .9`: only those of at least .9;
- `robust`: the loss `robust` instead of sigmoid, with `label_smoothing` the mean of 1 − p (Chowdhury, Kini & Natarajan
  2024, arXiv 2403.00409). TRL takes one number for all rows, and sigmoid does not use it;
- `weighted`: as many rows, drawn with replacement in proportion to 2p − 1, which is 0 for a coin flip;
- `judged`: only the rows that the judge saw;

and the change in greedy accuracy on fresh held-out prompts, points.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from karma.seeds import seed_of
from karma_demo.model_card import load
from karma_demo.tasks import tasks
from tests.benchmarks.alignment import Preference, Recipe, accuracy, aligned
from tests.benchmarks.family_stream import FAMILY, JudgedPair, answers, run
from tests.benchmarks.trials import JUDGES, SETTINGS, TARGET
from tests.benchmarks.weak_policies import POLICIES, made

SURE = 0.9

#: The rows to train on and the recipe, of decisive pairs, a recipe and a seed.
Use = Callable[[Sequence[JudgedPair], Recipe, int], tuple[Sequence[JudgedPair], Recipe]]


def plain(pairs: Sequence[JudgedPair], recipe: Recipe, _seed: int) -> tuple[Sequence[JudgedPair], Recipe]:
    """Every row alike."""
    return pairs, recipe


def at_least_sure(pairs: Sequence[JudgedPair], recipe: Recipe, _seed: int) -> tuple[Sequence[JudgedPair], Recipe]:
    """Only the sure rows."""
    return [pair for pair in pairs if pair.probability >= SURE], recipe


def robust(pairs: Sequence[JudgedPair], recipe: Recipe, _seed: int) -> tuple[Sequence[JudgedPair], Recipe]:
    """The loss that expects a known share of wrong labels."""
    flipped = fmean(1.0 - pair.probability for pair in pairs)
    losses = tuple("robust" if loss == "sigmoid" else loss for loss in recipe.losses)
    return pairs, replace(recipe, losses=losses, label_smoothing=flipped)


def weighted(pairs: Sequence[JudgedPair], recipe: Recipe, seed: int) -> tuple[Sequence[JudgedPair], Recipe]:
    """As many rows, by what their labels are worth."""
    worth = np.array([2.0 * pair.probability - 1.0 for pair in pairs])
    drawn = np.random.default_rng(seed).choice(len(pairs), len(pairs), p=worth / worth.sum())
    return [pairs[place] for place in drawn.tolist()], recipe


def judged(pairs: Sequence[JudgedPair], recipe: Recipe, _seed: int) -> tuple[Sequence[JudgedPair], Recipe]:
    """Only the rows that the judge saw."""
    return [pair for pair in pairs if pair.source == "judge"], recipe


USES: Mapping[str, Use] = {
    "plain": plain,
    "at .9": at_least_sure,
    "robust": robust,
    "weighted": weighted,
    "judged": judged,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.soft_labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=["worn-large", "worn-schooled"])
    parser.add_argument("--setting", choices=[name for name in SETTINGS if "train" in name], default="train/target")
    parser.add_argument("--uses", nargs="+", choices=list(USES), default=list(USES))
    parser.add_argument("--judge", choices=list(JUDGES), default="verifier")
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--held-out", type=int, default=1200, help="prompts that accuracy is measured on")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.setdefault("TQDM_DISABLE", "1")  # of the libraries' many bars; read when they are imported
    rows: list[dict[str, Any]] = []
    print(f"{'policy':<16} {'seed':>4} {'use':<9} {'rows':>5} {'wrong':>7} {'1 - p':>7} {'before':>8} {'change':>6}")
    with tempfile.TemporaryDirectory() as folder:
        policies = {name: made(name, Path(folder)) for name in arguments.policies}
        for seed in arguments.seeds:
            asked = tasks("demo", arguments.prompts, seed)
            held_out = tasks("held_out", arguments.held_out, seed)
            family = answers(FAMILY, asked, 0.7, 2, seed)
            for name, checkpoint in policies.items():
                given = {**family, **answers({TARGET: checkpoint}, asked, 0.7, 2, seed)}
                stream = run(asked, given, SETTINGS[arguments.setting], JUDGES[arguments.judge], arguments.prompts, 0)
                decisive = [pair for pair in stream.pairs if pair.outcome == "decisive"]
                before = 100.0 * accuracy(*load(checkpoint), held_out)
                for use in arguments.uses:
                    pairs, recipe = USES[use](decisive, Recipe(), seed)
                    data = [Preference(asked[pair.prompt].prompt, pair.chosen, pair.rejected) for pair in pairs]
                    after = 100.0 * accuracy(*aligned(checkpoint, data, recipe, seed_of(seed, name)), held_out)
                    row = {
                        "policy": name,
                        "seed": seed,
                        "use": use,
                        "rows": len(pairs),
                        "wrong": 100.0 * fmean(pair.error != "" for pair in pairs),
                        "doubt": 100.0 * fmean(1.0 - pair.probability for pair in pairs),
                        "before": before,
                        "change": after - before,
                        "calls": stream.calls,
                    }
                    rows.append(row)
                    print(
                        f"{name:<16} {seed:>4} {use:<9} {row['rows']:>5} {row['wrong']:>7.1f} {row['doubt']:>7.1f} "
                        f"{before:>8.1f} {row['change']:>+6.1f}",
                        flush=True,
                    )
    for use in arguments.uses:
        print(f"{use:<9} {fmean(row['change'] for row in rows if row['use'] == use):+.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
