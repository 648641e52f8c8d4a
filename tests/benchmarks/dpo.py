"""What DPO makes of the pairs of each pairing policy, on the tiny family.

For each weak policy (`weak_policies`) and seed: fresh prompts, fresh answers of the family and of the policy itself,
one stream a setting, cut at equal numbers of prompts and at equal numbers of judge calls; DPO with TRL on the decisive
pairs, the same recipe for all; then greedy accuracy on fresh held-out prompts. A stream plans, pairs, resolves and
learns competencies by the product's own code, from its own verdicts alone. The judge is the product's: `verifier`
(right against wrong is a win, everything else a tie) unless `--judge likelihood` asks the family's judge.

Printed: the change in accuracy (points), its difference to `random` over the same seeds with Student's 95 % interval,
and the yield. The recommended setting is *worse* than random on a policy if the interval at equal judge calls lies
wholly below 0, and *better* if wholly above.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from tests.benchmarks.active_policies import register
from tests.benchmarks.alignment import Recipe
from tests.benchmarks.paired import difference
from tests.benchmarks.trials import BASELINE, JUDGES, ONLY_IF_NAMED, SETTINGS, Size, Trial, trials
from tests.benchmarks.weak_policies import FIFTH, POLICIES, made

RECOMMENDED = "train/target"


def table(results: Sequence[Trial], equal: str) -> list[dict[str, Any]]:
    """One row a policy and setting: means over seeds, and the paired difference to the baseline."""
    rows: list[dict[str, Any]] = []
    for policy in dict.fromkeys(one.policy for one in results):
        mine = [one for one in results if one.policy == policy and one.equal == equal]
        control = [one.change for one in mine if one.setting == BASELINE]
        for setting in dict.fromkeys(one.setting for one in mine):
            these = [one for one in mine if one.setting == setting]
            against = difference([one.change for one in these], control)
            preferences = sum(one.preferences for one in these)
            rows.append(
                {
                    "policy": policy,
                    "setting": setting,
                    "before": fmean(one.before for one in these),
                    "change": fmean(one.change for one in these),
                    "against_random": asdict(against),
                    "worse": against.worse,
                    "better": against.better,
                    "per_prompt": preferences / sum(one.prompts for one in these),
                    "per_call": preferences / sum(one.calls for one in these),
                    "calls": fmean(one.calls for one in these),
                    "generations": fmean(one.generations for one in these),
                    "text": str(against),
                }
            )
    return rows


def show(rows: Sequence[Mapping[str, Any]], equal: str) -> None:
    """Print a table for people."""
    print(f"\nAt equal {equal}. Change in accuracy on held-out prompts, points; yield: decisive pairs.")
    print(
        f"{'policy':<16} {'setting':<23} {'before %':>8} {'change':>7} {'against random':>22} "
        f"{'a prompt':>8} {'a call':>6} {'calls':>6} {'answers':>7}"
    )
    for row in rows:
        against = "" if row["setting"] == BASELINE else row["text"]
        mark = "*" if row["better"] else "!" if row["worse"] else " "
        print(
            f"{row['policy']:<16} {row['setting']:<23} {row['before']:>8.1f} {row['change']:>+7.1f} "
            f"{against:>21}{mark} {row['per_prompt']:>8.2f} {row['per_call']:>6.2f} "
            f"{row['calls']:>6.0f} {row['generations']:>7.0f}"
        )


def verdict(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether the recommended setting keeps its promise at equal judge calls."""
    mine = [row for row in rows if row["setting"] == RECOMMENDED]
    worse = [row["policy"] for row in mine if row["worse"]]
    better = [row["policy"] for row in mine if row["better"]]
    return {
        "recommended": RECOMMENDED,
        "worse_on": worse,
        "better_on": better,
        "holds": bool(mine) and not worse and bool(better),
    }


def known_results(files: Sequence[Path]) -> list[Trial]:
    """The trials of earlier runs, each once."""
    found = [Trial(**row) for file in files for row in json.loads(file.read_text())["results"]]
    return list({(one.policy, one.seed, one.setting, one.equal): one for one in found}.values())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.dpo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="repetitions with fresh prompts, answers and shuffling")
    parser.add_argument("--first-seed", type=int, default=100, help="1 to 3 were used to choose the settings")
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=list(POLICIES))
    usual = [setting for setting in SETTINGS if setting not in ONLY_IF_NAMED]
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=usual, metavar="SETTING")
    parser.add_argument("--equal", nargs="+", choices=["calls", "prompts"], default=["calls", "prompts"])
    parser.add_argument("--judge", choices=list(JUDGES), default="verifier")
    parser.add_argument("--prompts", type=int, default=320)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--held-out", type=int, default=1200, help="prompts that accuracy is measured on")
    parser.add_argument("--losses", nargs="+", default=list(Recipe.losses), help="TRL's names")
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate)
    parser.add_argument("--available", type=int, help="prompts drawn; by default twice the prompts or the calls")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--of", type=Path, nargs="+", metavar="JSON", help="train nothing; show the trials of these runs together"
    )
    arguments = parser.parse_args()
    os.environ.setdefault("TQDM_DISABLE", "1")  # of the libraries' many bars; read when they are imported
    register()
    settings = list(dict.fromkeys([BASELINE, *arguments.settings]))
    recipe = Recipe(
        learning_rate=arguments.learning_rate, losses=tuple(arguments.losses), weights=(1.0,) * len(arguments.losses)
    )
    available = arguments.available or 2 * max(arguments.prompts, arguments.calls)
    size = Size(arguments.prompts, arguments.calls, arguments.held_out, available)
    seeds: Sequence[int] = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    figures: dict[str, Any] = {
        "judge": arguments.judge,
        "recipe": asdict(recipe),
        "size": asdict(size),
        "seeds": list(seeds),
        "fifth_policy": FIFTH,
    }
    if arguments.of:
        results = known_results(arguments.of)
        seeds = sorted({result.seed for result in results})
        settings = list(dict.fromkeys(result.setting for result in results))
        arguments.equal = list(dict.fromkeys(result.equal for result in results))
    else:
        with tempfile.TemporaryDirectory() as folder:
            policies = {name: made(name, Path(folder)) for name in arguments.policies}
            results = [
                result
                for seed in seeds
                for result in trials(policies, settings, arguments.equal, JUDGES[arguments.judge], recipe, size, seed)
            ]
    figures["results"] = [asdict(result) for result in results]
    if arguments.json:  # before anything is made of them: the trials took long
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    if len(seeds) < 2:
        print("one seed: its trials have no interval; show them together with others by --of")
        return
    print(f"judge {arguments.judge}, seeds {seeds[0]} to {seeds[-1]}, {recipe}")
    for equal in arguments.equal:
        figures[f"equal_{equal}"] = rows = table(results, equal)
        show(rows, "judge calls" if equal == "calls" else equal)
    print("\n* better than random, ! worse: the 95 % interval over seeds lies wholly on one side of 0")
    if "calls" in arguments.equal and RECOMMENDED in settings:
        figures["verdict"] = found = verdict(figures["equal_calls"])
        print(
            f"{RECOMMENDED} at equal judge calls: worse than random on {', '.join(found['worse_on']) or 'no policy'}, "
            f"better on {', '.join(found['better_on']) or 'no policy'}: {'holds' if found['holds'] else 'FALLS SHORT'}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
