"""What a small reward model learns from the pairs of each pairing policy, at equal judge calls, on recorded answers.

Competencies come from the product's fit of the verdicts on 60 random pairs of each of the first 120 fit prompts. The
product's `form` then pairs the answers to the fit prompts by each policy; each pair costs one judge call, and the
decisive ones train a Bradley–Terry reward model: one linear score of frozen embeddings of the response and of its
product with the prompt's, ridge-penalised. It is tested on all decisive pairs of the evaluation prompts.

Hard and easy pairs are those of the models whose competency gaps are the closest and the widest fifth. ECE: the
difference between confidence and accuracy over ten equal bins of confidence (Guo et al. 2017, equation 3).
Agreement: the share of evaluation pairs on which two seeds' models take one side. Differences to `random` are paired
by seed, with Student's 95 % interval. `self` is not here: there is one answer a model.

Below them stand streams (`reward_stream`) that start cold and learn from their own verdicts, so that what is known of
the models is paid for: `best-vs-worst/cold`, the selection rules of ActiveUltraFeedback (`active_policies`), and those
that label by prediction what they are sure of: `train` and `reward` by these goals, `best-vs-random/labels` like
`reward` with another policy, `reward/uneven` with few verdicts on pairs that are sure or likely ties, `reward/all` with
every pair judged that is not sure. Labels cost no call and are rows.
A policy of which the fit prompts have too few different pairs spends less than it may.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from karma.policies.candidates import Candidate
from karma.ranking.snapshot import Snapshot
from karma.seeds import seed_of
from karma_matching.pairing import form
from karma_scoring.features import features
from karma_scoring.fit.competency import Counts, Prior
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.prior_scale import fit_with_learned_scale
from karma_scoring.skill_discovery.embedding import Vectors
from tests.benchmarks.active_policies import register
from tests.benchmarks.linear_reward import Evaluation, Pairs, represented, reward_weights
from tests.benchmarks.paired import difference
from tests.benchmarks.reward_stream import STREAMS, RewardStream, Rows
from tests.support.alpaca import Data, Recording, add_folders, recordings

BASELINE = "random"
POLICIES = (BASELINE, "informative", "kin", "best-vs-worst", "best-vs-random", "all-pairs")
_COMPETENCY_PROMPTS = 120
_PAIRS_A_PROMPT = 60

MEASURES = ("all", "hard", "easy", "ece", "hard_ece")


def competencies(fitted: Recording, seed: int) -> Snapshot:
    """The product's snapshot after the verdicts on random pairs of the first fit prompts."""
    data = fitted.data
    every = np.array(list(combinations(range(len(data.models)), 2)))
    generator = np.random.default_rng(seed)
    number = min(_PAIRS_A_PROMPT, len(every))
    prompts = np.repeat(np.arange(min(_COMPETENCY_PROMPTS, len(data.prompts))), number)
    drawn = np.concatenate([generator.permutation(every)[:number] for _ in range(len(prompts) // number)])
    found = fitted.judge.verdicts(prompts, drawn[:, 0], drawn[:, 1])
    counts = Counts(
        skill=data.skill_indices()[prompts],
        first=drawn[:, 0],
        second=drawn[:, 1],
        wins_first=(found == 1).astype(float),
        wins_second=(found == -1).astype(float),
        ties=(found == 0).astype(float),
    )
    return snapshot(fit_with_learned_scale(counts, data.models, data.skills, Prior()), version=1)


def candidates_of(data: Data) -> list[list[Candidate]]:
    """The answers to every prompt as matching sees them; a response's id is its model's place."""
    return [
        [
            Candidate(number, model, 0, text, None, features(text))
            for number, (model, text) in enumerate(zip(data.models, texts, strict=True))
        ]
        for texts in data.outputs
    ]


def bought(
    fitted: Recording, candidates: Sequence[Sequence[Candidate]], policy: str, known: Snapshot, calls: int, seed: int
) -> Pairs:
    """Exactly `calls` judged pairs of a policy, spread evenly over the prompts; `all-pairs` takes whole prompts.

    Raises:
        ValueError: the policy forms fewer pairs.
    """
    data = fitted.data
    count = 0 if policy == "all-pairs" else -(-calls // len(data.prompts))
    formed: list[tuple[int, int, int]] = []
    while len(formed) < calls:
        formed = []
        for place in np.random.default_rng(seed).permutation(len(data.prompts)).tolist():
            if count == 0 and len(formed) >= calls:
                break
            prompt = data.prompts[place]
            pairs, _reason = form(
                candidates[place], policy, count, known, prompt.skill, seed_of(prompt.id, "match", seed)
            )
            formed.extend((place, pair.a, pair.b) for pair in pairs)
        if len(formed) < calls and (count == 0 or count >= len(data.models) ** 2):
            raise ValueError(f"{policy} forms {len(formed)} pairs of {len(data.prompts)} prompts, fewer than {calls}")
        count = count and count + max(1, count // 4)
    if policy != "all-pairs":
        formed = [formed[index] for index in np.random.default_rng(seed).permutation(len(formed))[:calls]]
    prompt_, first, second = np.array(formed[:calls], dtype=np.int64).T
    return Pairs(prompt_, first, second, fitted.judge.verdicts(prompt_, first, second))


#: The rows of a policy or stream: name, calls, seed.
Buy = Callable[[str, int, int], Rows]


def buyer(fitted: Recording, known: Snapshot, most_calls: int) -> Buy:
    """Buys rows; a stream runs once for all numbers of calls up to the most."""
    candidates = candidates_of(fitted.data)

    @cache
    def streamed(name: str, seed: int) -> Rows:
        return RewardStream(fitted, candidates, STREAMS[name], seed).run(most_calls)

    def buy(name: str, calls: int, seed: int) -> Rows:
        if name in STREAMS:
            return streamed(name, seed).until(calls)
        pairs = bought(fitted, candidates, name, known, calls, seed)
        return Rows(pairs, np.ones(len(pairs.prompt), dtype=np.bool_), np.ones(len(pairs.prompt)))

    return buy


def compared(
    names: Sequence[str], buy: Buy, fitted: Recording, test: Evaluation, trained_on: Vectors, calls: int, seeds: int
) -> list[dict[str, Any]]:
    """One row a policy or stream, the baseline first: means over seeds, agreement, differences to the baseline."""
    rows: list[dict[str, Any]] = []
    control: list[dict[str, float]] = []
    for policy in names:
        found, sides, decisive, spent, number, wrong = [], [], [], [], [], []
        for seed in range(seeds):
            bought_ = buy(policy, calls, seed)
            pairs = bought_.pairs
            decisive.append(float((pairs.verdict[bought_.judged] != 0).mean()))
            spent.append(int(bought_.judged.sum()))
            number.append(int((pairs.verdict != 0).sum()))
            wrong.append(bought_.wrong(fitted))
            measures, side = test.measured(reward_weights(trained_on, pairs.decisive()))
            found.append(measures)
            sides.append(side)
        control = control or found
        rows.append(
            {
                "policy": policy,
                "calls": calls,
                "spent": fmean(spent),
                "decisive": fmean(decisive),
                "rows": fmean(number),
                "wrong": fmean(wrong),
                **{name: fmean(one[name] for one in found) for name in MEASURES},
                "agreement": fmean(float((a == b).mean()) for a, b in combinations(sides, 2)),
                "against_random": {
                    name: asdict(difference([one[name] for one in found], [one[name] for one in control]))
                    for name in MEASURES
                },
            }
        )
        print(f"{calls} calls, {policy}: done", file=sys.stderr, flush=True)
    return rows


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table for people."""
    print(
        f"\n{rows[0]['calls']:,} judge calls. Accuracy on decisive evaluation pairs, %, and its difference to random."
    )
    print(
        f"{'policy':<21} {'calls':>5} {'decisive':>8} {'rows':>6} {'wrong':>5} "
        f"{'all':>5} {'':<20} {'hard':>5} {'':<20} {'easy':>5} {'':<20} "
        f"{'ECE':>5} {'hard ECE':>8} {'agreement':>9}"
    )
    for row in rows:
        cells = ""
        for name in ("all", "hard", "easy"):
            one = row["against_random"][name]
            text = f"{one['mean']:+.1f} [{one['low']:+.1f}, {one['high']:+.1f}]"
            cells += f" {row[name]:>5.1f} {'' if row['policy'] == BASELINE else text:<20}"
        print(
            f"{row['policy']:<21} {row['spent']:>5.0f} {row['decisive']:>8.2f} {row['rows']:>6.0f} {row['wrong']:>5.3f}"
            f"{cells} {row['ece']:>5.3f} {row['hard_ece']:>8.3f} {row['agreement']:>9.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.reward_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_folders(parser)
    parser.add_argument("--calls", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--policies", nargs="+", choices=[*POLICIES, *STREAMS], default=[*POLICIES, *STREAMS])
    parser.add_argument("--fit-prompts", type=int, default=320, help="prompts whose pairs train the reward model")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep embeddings here; making them takes minutes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.seeds < 2:
        parser.error(f"--seeds is {arguments.seeds}; agreement and intervals need 2 or more")
    register()
    names = list(dict.fromkeys([BASELINE, *arguments.policies]))
    fitted, evaluation = recordings(arguments, arguments.fit_prompts)
    known = competencies(fitted, seed=0)
    trained_on = represented(fitted.data, arguments.cache)
    test = Evaluation.of(evaluation, known, arguments.cache)
    print(
        f"{len(fitted.data.prompts)} fit prompts, {len(evaluation.data.prompts)} evaluation prompts, "
        f"{len(test.pairs.prompt):,} decisive evaluation pairs, {arguments.seeds} seeds"
    )
    rows = []
    buy = buyer(fitted, known, max(arguments.calls))
    for calls in arguments.calls:
        rows += compared(names, buy, fitted, test, trained_on, calls, arguments.seeds)
        show(rows[-len(names) :])
    if arguments.json:
        figures = {"seeds": arguments.seeds, "fit_prompts": len(fitted.data.prompts), "rows": rows}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
