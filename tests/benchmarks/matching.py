"""What matching costs: forming the pairs of prompts with 24 real answers, by every policy, and with a judge budget.

`KARMA_BENCH_DATA=DIR python -m tests.benchmarks.matching [--prompts N] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

from karma.plugins.registry import POLICIES
from karma.policies.candidates import Candidate
from karma.ranking.outcome_model import FEATURES, OutcomeModel, ResponseEffects
from karma.ranking.snapshot import Snapshot
from karma_matching.budget.allocation import Budget, BudgetState
from karma_matching.budget.decisions import JudgeBudget
from karma_matching.pairing import form
from karma_scoring.features import features
from tests.support.alpaca import add_folders, recordings

OUTCOME = OutcomeModel(1.0, (0.2,) * len(FEATURES), {}, 0.5, ResponseEffects(6.0, 1.5, 2.0), 1000, 0.01)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folders(parser)
    parser.add_argument("--prompts", type=int, default=1000, help="the data's prompts, again and again (default 1000)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    _, recording = recordings(arguments, fit_prompts=0)
    data = recording.data
    pools = [
        [
            Candidate(place, model, 0, text, None, features(text))
            for place, (model, text) in enumerate(zip(data.models, outputs, strict=True))
        ]
        for outputs in data.outputs
    ]
    snapshot = replace(Snapshot.empty(data.models, data.skills), outcome=OUTCOME)
    found: dict[str, float] = {}
    print(f"{arguments.prompts} prompts, {len(data.models)} answers each; CPU seconds")
    for policy in POLICIES:
        count = 60 if policy == "all-pairs" else 1
        started = time.process_time()
        for number in range(arguments.prompts):
            place = number % len(pools)
            form(pools[place], policy, count, snapshot, data.prompts[place].skill, number)
        found[policy] = time.process_time() - started
        print(f"  {policy + f', {count} a prompt':28} {found[policy]:6.2f}", flush=True)
    for count in (1, 60):
        budget = JudgeBudget("", Budget(judge_share=0.5), BudgetState(), snapshot)
        formed = [form(pool, "random", count, snapshot, None, 0)[0] for pool in pools]
        started = time.process_time()
        for number in range(arguments.prompts):
            place = number % len(pools)
            budget.decide(pools[place], formed[place], data.prompts[place].text, None, number, 0.0)
        found[f"budget {count}"] = time.process_time() - started
        print(f"  {f'judge budget, {count} a prompt':28} {found[f'budget {count}']:6.2f}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
