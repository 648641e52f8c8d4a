"""What a stream of the goal `train` comes to on the tiny family: calls, labels and their errors; nothing is trained.

For each weak policy (`weak_policies`) and seed: fresh prompts, fresh answers, one stream a setting through the
product's gate. A label is *wrong* where the judge would have taken the other side, and *tied* where it would have taken
no side.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from karma_demo.tasks import tasks
from tests.benchmarks.family_stream import FAMILY, answers, run
from tests.benchmarks.trials import BASELINE, JUDGES, SETTINGS, TARGET
from tests.benchmarks.weak_policies import POLICIES, made


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.goal_train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=list(POLICIES))
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=[BASELINE, "train", "train/target"])
    parser.add_argument("--judge", choices=list(JUDGES), default="verifier")
    parser.add_argument("--prompts", type=int, default=1000)
    arguments = parser.parse_args()
    os.environ.setdefault("TQDM_DISABLE", "1")  # of the libraries' many bars; read when they are imported
    print(f"{'seed':>4} {'policy':<16} {'setting':<14} {'calls':>5} {'labels':>6} {'wrong':>5} {'tied':>4} {'rows':>5}")
    with tempfile.TemporaryDirectory() as folder:
        policies = {name: made(name, Path(folder)) for name in arguments.policies}
        for seed in arguments.seeds:
            asked = tasks("demo", arguments.prompts, seed)
            family = answers(FAMILY, asked, 0.7, 1, seed)
            for name, checkpoint in policies.items():
                given = {**family, **answers({TARGET: checkpoint}, asked, 0.7, 1, seed)}
                for setting in arguments.settings:
                    stream = run(asked, given, SETTINGS[setting], JUDGES[arguments.judge], arguments.prompts, 0)
                    labels = [pair for pair in stream.pairs if pair.source == "predicted"]
                    wrong, tied = (sum(pair.error == error for pair in labels) for error in ("wrong", "tied"))
                    rows = sum(pair.outcome == "decisive" for pair in stream.pairs)
                    print(
                        f"{seed:>4} {name:<16} {setting:<14} {stream.calls:>5} {len(labels):>6} {wrong:>5} {tied:>4} "
                        f"{rows:>5}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
