"""What a cascade saves and costs on recorded answers and verdicts of real models: a small judge before a large one.

`KARMA_BENCH_DATA=DIR python -m tests.benchmarks.cascade [--agreement .75 .8] [--doubt .1 .2] [--json OUT]`

The recorded verdicts are the large judge: 1, 1/2 (a tie) or 0. The small judge is a noisy copy: the difference of the
recorded preference logits plus normal noise of its own per pair, with a deviation that gives it the stated agreement
with the large judge, over pairs on which both take a side. A *soft* small judge says the probability of that logit, a
*hard* one only its side. Every prompt comes once per seed, in random order, with pairs of its answers. The judges of
each pair are planned, called, learned, audited and counted by the product's own code, as it goes; before the first
rule, the large judge sees every pair.

Printed, percent, mean ± standard error over the seeds: calls of the large judge saved; `wrong`: labels that contradict
the large judge, of all pairs on which it takes a side; both of the second half of the pairs alone (`late`); of the
labels by the small judge alone: those that contradict (`alone`), and the audit's estimate of these (`audited`), with
the mean bounds of its 95 % interval and in how many runs it holds the truth; labels by the small judge where the large
one ties, of all pairs (`tied`). Then of the competencies: Spearman's correlation with the models' mean preference, and
against those that the large judge's verdicts on all of the same pairs give, the root mean square difference of the
models' gaps (logits × 100) and the share of gaps that the 95 % interval holds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from karma.config.settings import StreamSettings
from karma.messages import JudgeSpec
from karma.ranking.snapshot import Snapshot
from karma.ranking.verdict_weights import PromptPair, prompt_weight
from karma.store.cascade_quality import calls_for_larger, deciding, is_first_alone
from karma.store.records import Count, PairRecord, PairRow, VerdictRow
from karma.verdicts import resolve
from karma_matching.judges import Judging, plan_judging
from karma_scoring.competency_counts import count_of
from karma_scoring.fit.judges.cascades import PAIRS as FITTED
from karma_scoring.fit.judges.cascades import audits, rules
from tests.benchmarks.orders import refit
from tests.support.alpaca import Recording, add_folders, recordings

Array = NDArray[np.float64]
#: Which verdicts of a pair count for the competencies: the product's, those of its label, or the small judge's.
Counted = Literal["product", "label", "first"]

AGREEMENTS = (0.75, 0.8, 0.85, 0.9)
DOUBTS = (0.1, 0.15, 0.2, 0.25, 0.3)
_Z95 = 1.96
PAIRS = 8  # of a prompt
MARGIN = 0.05
STREAM = "default"
_FIRST_REFIT, _GROWTH = 20, 1.15  # prompts, and how many times as many come before the next
SMALL, LARGE = (JudgeSpec(name=name, kind="openai", both_orders=False) for name in ("small", "large"))
FIGURES = (
    *("saved", "wrong", "late_saved", "late_wrong", "alone", "audited", "low", "high", "holds", "tied"),
    *("spearman", "off", "covers"),
)


@dataclass(frozen=True, eq=False)
class Judges:
    """Both judges' P(first is better), by prompt, first and second answer, [P, M, M]."""

    small: Array
    large: Array

    def verdict(self, judge: str, pair: PairRow, prompt: int) -> VerdictRow:
        said = self.small if judge == "small" else self.large
        return VerdictRow(pair.id, judge, 0, float(said[prompt, pair.response_a, pair.response_b]), None)


def judges_of(recording: Recording, agreement: float, hard: bool, seed: int) -> Judges:
    """The two judges; the noise of a seed is the same for every agreement, up to its deviation."""
    logits = recording.judge._logits
    prompts, models = logits.shape
    gap = logits[:, :, None] - logits[:, None, :]
    noise = np.random.default_rng([11, seed]).standard_normal(gap.shape)
    noise = (noise - noise.transpose(0, 2, 1)) / np.sqrt(2.0)  # the same pair, seen from the other side
    grid = np.broadcast_to(np.arange(prompts)[:, None, None], gap.shape)
    first, second = np.broadcast_to(np.arange(models)[:, None], gap.shape[1:]), np.arange(models)[None, :]
    verdicts = recording.judge.verdicts(grid, np.broadcast_to(first, gap.shape), np.broadcast_to(second, gap.shape))
    sided = verdicts != 0
    low, high = 0.0, 50.0
    for _step in range(30):
        middle = (low + high) / 2.0
        agrees = float(((gap + middle * noise > 0.0) == (verdicts > 0))[sided].mean())
        low, high = (middle, high) if agrees > agreement else (low, middle)
    said = gap + low * noise
    soft = 1.0 / (1.0 + np.exp(-np.clip(said, -30.0, 30.0)))
    return Judges((said > 0.0).astype(np.float64) if hard else soft, (1.0 + verdicts) / 2.0)


@dataclass
class Run:
    """One pass over the prompts."""

    records: list[PairRecord]
    truth: list[int]  # of the large judge, by pair
    known: Snapshot


def run(recording: Recording, judges: Judges, stream: StreamSettings, seed: int, counted: Counted = "product") -> Run:
    """One pass over the prompts, learning as it goes."""
    rng = np.random.default_rng(seed)
    data, models = recording.data, recording.data.models
    specs = (SMALL, LARGE) if stream.first_judge else (LARGE,)
    known = Snapshot.empty(models)
    counts: list[Count] = []
    made = Run([], [], known)
    refit_at: float = _FIRST_REFIT
    first, second = np.triu_indices(len(models), 1)
    for number, prompt in enumerate(rng.permutation(len(data.prompts)).tolist(), start=1):
        asked = data.prompts[prompt]
        chosen = rng.choice(len(first), PAIRS, replace=False)
        drawn = list(zip(first[chosen].tolist(), second[chosen].tolist(), strict=True))
        weights = prompt_weight([PromptPair(prompt, a, b, 1) for a, b in drawn])
        for a, b in drawn:
            name = (STREAM, str(seed), asked.id, models[a], models[b])
            planned = plan_judging(stream, specs, known, name)
            win = known.between(models[a], models[b], asked.skill).win_probability
            lengths = len(data.outputs[prompt][a]), len(data.outputs[prompt][b])
            pair = row(len(made.records), prompt, (a, b), models, win, lengths, planned)
            verdicts = [judges.verdict(judge, pair, prompt) for judge, _order in planned.judgements]
            if pair.judges is not None and pair.judges.later and calls_for_larger(pair, verdicts):
                verdicts += [judges.verdict(judge, pair, prompt) for judge in pair.judges.later]
            outcome = resolve(deciding(pair, verdicts), MARGIN)
            made.records.append(
                PairRecord(
                    pair=pair,
                    stream=STREAM,
                    outcome=outcome.outcome,
                    a_is_chosen=outcome.a_is_chosen,
                    probability=outcome.probability,
                    label_source="judge",
                    resolved_at=0.0,
                    verdicts=verdicts,
                )
            )
            made.truth.append(int(2.0 * judges.large[prompt, a, b] - 1.0))
            counts.append(count_of(*counted_of(pair, verdicts, counted), asked.skill, weights, 0.0, (), MARGIN))
        if number >= refit_at or number == len(data.prompts):
            refit_at = number * _GROWTH
            seen_by_all = [each for each in made.records if len(each.verdicts) > 1][-FITTED:]
            known = replace(refit(counts, models), cascades=rules(seen_by_all))
    made.known = known
    return made


def counted_of(pair: PairRow, verdicts: Sequence[VerdictRow], counted: Counted) -> tuple[PairRow, Sequence[VerdictRow]]:
    """The pair and verdicts to be counted; without a plan, the product counts all that it gets."""
    if counted == "product":
        return pair, verdicts
    bare = pair._replace(judges=None)
    return bare, deciding(pair, verdicts) if counted == "label" else [one for one in verdicts if one.judge == "small"]


def row(
    number: int,
    prompt: int,
    answers: tuple[int, int],
    models: Sequence[str],
    win: float,
    lengths: tuple[int, int],
    planned: Judging,
) -> PairRow:
    a, b = answers
    unknown = (None,) * 5
    found = PairRow(
        number, prompt, a, b, models[a], models[b], "random", 0, 1, 1.0, *unknown, win, None, *lengths, None, None
    )
    return found._replace(orders=planned.orders, judges=planned.judges)


def figures(made: Run, reference: Run, recording: Recording) -> dict[str, float]:
    """The figures of one row."""
    truth = np.array(made.truth)
    label = np.array([0 if each.outcome != "decisive" else 1 if each.a_is_chosen else -1 for each in made.records])
    alone = np.array([is_first_alone(each) for each in made.records])
    contradicts = label * truth < 0
    decisive = truth != 0
    of_alone = alone & decisive
    late = np.arange(len(truth)) >= len(truth) // 2
    true_error = float(contradicts[of_alone].mean()) if of_alone.any() else float("nan")
    audit = audits(made.records).get(STREAM)
    models = len(recording.data.models)
    gaps = made.known.mean[0, :models, None] - made.known.mean[0, None, :models]
    others = reference.known.mean[0, :models, None] - reference.known.mean[0, None, :models]
    apart = np.triu_indices(models, 1)
    found = spearmanr(made.known.mean[0, :models], recording.judge.true_preference()).statistic
    return {
        "saved": float(alone.mean()),
        "wrong": float(contradicts[decisive].mean()),
        "late_saved": float(alone[late].mean()),
        "late_wrong": float(contradicts[late & decisive].mean()),
        "alone": true_error,
        "audited": audit.estimate if audit else float("nan"),
        "low": audit.low if audit else float("nan"),
        "high": audit.high if audit else float("nan"),
        "holds": float(audit.low <= true_error <= audit.high) if audit else float("nan"),
        "tied": float((alone & ~decisive & (label != 0)).mean()),
        "spearman": float(found),
        "off": float(np.sqrt(np.mean((gaps - others)[apart] ** 2))),
        "covers": float((np.abs(gaps - others) <= _Z95 * made.known.gap_deviation[0, :models, :models])[apart].mean()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folders(parser)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--agreement", type=float, nargs="+", default=list(AGREEMENTS), metavar="SHARE")
    parser.add_argument("--doubt", type=float, nargs="+", default=list(DOUBTS), metavar="P")
    parser.add_argument("--judge", choices=("soft", "hard"), nargs="+", default=["soft", "hard"])
    parser.add_argument("--counted", choices=("product", "label", "first"), nargs="+", default=["product"])
    parser.add_argument("--json", type=Path, metavar="OUT")
    given = parser.parse_args(arguments)
    _, recording = recordings(given, 0)
    print(f"{len(recording.data.prompts)} prompts × {PAIRS} pairs, {given.seeds} seeds; percent, ± standard error")
    print(f"{'judge':5} {'agrees':>6} {'doubt':>5} {'counted':8}" + "".join(f"{name:>14}" for name in FIGURES))
    rows: list[dict[str, Any]] = []
    alone = [
        run(recording, judges_of(recording, 0.8, False, seed), StreamSettings(), seed) for seed in range(given.seeds)
    ]
    spearman = [figures(each, each, recording)["spearman"] for each in alone]
    print(f"the large judge alone: spearman {100 * np.mean(spearman):.2f}", flush=True)
    for kind in given.judge:
        for agreement in given.agreement:
            judges = [judges_of(recording, agreement, kind == "hard", seed) for seed in range(given.seeds)]
            for doubt in given.doubt:
                for counted in given.counted:
                    stream = StreamSettings(first_judge="small", most_judge_doubt=doubt)
                    found = [
                        figures(run(recording, each, stream, seed, counted), alone[seed], recording)
                        for seed, each in enumerate(judges)
                    ]
                    named = {"judge": kind, "agreement": agreement, "doubt": doubt, "counted": counted}
                    rows.append({**named, **summed(found)})
                    print_row(rows[-1])
    if given.json:
        given.json.write_text(json.dumps({"seeds": given.seeds, "rows": rows}, indent=1))


def summed(found: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Means and standard errors over the seeds."""
    of = {name: np.array([each[name] for each in found]) for name in FIGURES}
    return {
        "mean": {name: float(np.nanmean(values)) for name, values in of.items()},
        "error": {name: float(np.nanstd(values, ddof=1) / np.sqrt(len(values))) for name, values in of.items()},
    }


def print_row(row: dict[str, Any]) -> None:
    shown = (f"{100 * row['mean'][name]:.1f} ± {100 * row['error'][name]:.1f}" for name in FIGURES)
    head = f"{row['judge']:5} {row['agreement']:6} {row['doubt']:5} {row['counted']:8}"
    print(head + "".join(f"{text:>14}" for text in shown), flush=True)


if __name__ == "__main__":
    main()
