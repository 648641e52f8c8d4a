"""What one order, and adaptive orders, save and cost against both, on recorded answers and verdicts of real models.

`KARMA_BENCH_DATA=DIR python -m tests.benchmarks.orders [--pairs random|informative] [--json OUT]`

The recorded verdicts are differences of preference logits and know no order. An order effect is added: a judge that
sees x first prefers it with the logit `x − y + bias + noise`, a standard normal noise of its own per pair and order. A
*soft* judge says that probability, a *hard* one the side it favors. Every prompt comes once per seed, in random order,
with pairs of its answers; the orders are planned, learned and counted by the product's own code. The settings see the
same prompts and the same noise.

Printed, mean ± standard error over the seeds: calls saved against `both`; of all pairs, those with another outcome
than both orders give (and those with the other side); decisive labels that contradict the recorded verdict without
bias and noise, of decisive pairs that are no tie there; decisive and inconsistent pairs; Spearman's correlation of the
learned competencies with the models' mean preference. The standard errors say nothing about other prompts or models.
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
from karma.ranking.orders import OrderPlan, SecondOrder, expected_win
from karma.ranking.snapshot import Snapshot
from karma.ranking.verdict_weights import PromptPair, prompt_weight
from karma.store.records import Count, PairRow, VerdictRow
from karma.verdicts import resolve
from karma_matching.orders import orders_of, plan_orders
from karma_scoring.competency_counts import count_of
from karma_scoring.fit.competency import Prior
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.judges.logistic import Example
from karma_scoring.fit.judges.second_orders import example_of, fit_second_order
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.prior_scale import fit_with_learned_scale
from tests.support.alpaca import Recording, add_folders, recordings

Array = NDArray[np.float64]
Setting = Literal["both", "adaptive", "one"]

BIASES = (0.0, 0.5, 1.0, 2.0)
NOISE = 1.0
PAIRS = 8  # of a prompt
MARGIN = 0.05
_FIRST_REFIT, _GROWTH = 40, 1.1  # prompts, and how many times as many come before the next
JUDGE = JudgeSpec(name="j", kind="openai")
FIGURES = ("saved", "changed", "reversed", "wrong", "decisive", "inconsistent", "spearman")


@dataclass(frozen=True, eq=False)
class Judging:
    """A judge with an order effect; logits [P, M, M] that the first is better, by prompt, first and second answer."""

    logits: Array
    hard: bool

    def probability(self, prompt: int, first: int, second: int) -> float:
        logit = float(self.logits[prompt, first, second])
        return float(logit > 0.0) if self.hard else 1.0 / (1.0 + np.exp(-logit))

    def verdict(self, pair: PairRow, prompt: int, shown: int) -> VerdictRow:
        a, b = pair.response_a, pair.response_b
        return VerdictRow(pair.id, "j", shown, self.probability(prompt, *((a, b) if shown == 0 else (b, a))), None)


def run(recording: Recording, judging: Judging, stream: StreamSettings, how: str, seed: int) -> dict[str, float]:
    """One pass over the prompts; the figures of one row."""
    rng = np.random.default_rng(seed)
    data, models = recording.data, recording.data.models
    known, rule = Snapshot.empty(models), None
    examples: list[Example] = []
    counts: list[Count] = []
    made = changed = turned = decisive = inconsistent = wrong = checked = pairs = 0
    refit_at = _FIRST_REFIT
    for number, prompt in enumerate(rng.permutation(len(data.prompts)).tolist(), start=1):
        asked = data.prompts[prompt]
        drawn = draw(known, models, asked.skill, how, rng)
        weights = prompt_weight([PromptPair(prompt, a, b, 1) for a, b in drawn])
        for a, b in drawn:
            plan = plan_of(stream, known, rule, (str(seed), asked.id, models[a], models[b]))
            pair = row(
                pairs, prompt, a, b, known.between(models[a], models[b], asked.skill).win_probability, models, plan
            )
            pairs += 1
            verdicts = ask(judging, pair, prompt)
            made += len(verdicts)
            outcome, full = (
                resolve(each, MARGIN)
                for each in (verdicts, [judging.verdict(pair, prompt, 0), judging.verdict(pair, prompt, 1)])
            )
            sides = [0 if each.outcome != "decisive" else 1 if each.a_is_chosen else -1 for each in (outcome, full)]
            changed += outcome.outcome != full.outcome or sides[0] != sides[1]
            turned += sides[0] * sides[1] < 0
            decisive += sides[0] != 0
            inconsistent += outcome.outcome == "inconsistent"
            truth = int(recording.judge.verdicts([prompt], [a], [b])[0])
            if truth and sides[0]:
                checked, wrong = checked + 1, wrong + (truth != sides[0])
            counts.append(count_of(pair, verdicts, asked.skill, weights, 0.0, (), MARGIN))
            expected = expected_win(None, pair.win_probability)
            example = example_of(verdicts, 0 if plan is None else plan.first["j"], expected, MARGIN)
            if example is not None:
                examples.append(example)
        if number >= refit_at or number == len(data.prompts):
            refit_at = number * _GROWTH
            known, rule = refit(counts, models), fit_second_order(examples)
    found = spearmanr(known.mean[0, :-1], recording.judge.true_preference()).statistic
    return {
        "saved": 1.0 - made / (2 * pairs),
        "changed": changed / pairs,
        "reversed": turned / pairs,
        "wrong": wrong / checked,
        "decisive": decisive / pairs,
        "inconsistent": inconsistent / pairs,
        "spearman": float(found),
    }


def draw(
    known: Snapshot, models: Sequence[str], skill: str, how: str, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """`PAIRS` pairs of different models, each in a random order; `informative`: in proportion to information."""
    first, second = np.triu_indices(len(models), 1)
    information = known.matrix("information", models, skill)[first, second]
    chance = information / information.sum() if how == "informative" else None
    chosen = rng.choice(len(first), PAIRS, replace=False, p=chance)
    swapped = rng.random(PAIRS) < 0.5
    drawn = zip(first[chosen].tolist(), second[chosen].tolist(), swapped.tolist(), strict=True)
    return [(b, a) if swap else (a, b) for a, b, swap in drawn]


def plan_of(stream: StreamSettings, known: Snapshot, rule: SecondOrder | None, name: Sequence[str]) -> OrderPlan | None:
    return plan_orders(stream, [JUDGE], replace(known, second_orders={} if rule is None else {"j": rule}), name)


def row(number: int, prompt: int, a: int, b: int, win: float, models: Sequence[str], plan: OrderPlan | None) -> PairRow:
    unknown = (None,) * 5
    return PairRow(
        number, prompt, a, b, models[a], models[b], "random", 0, 1, 1.0, *unknown, win, None, 9, 9, None, None, plan
    )


def ask(judging: Judging, pair: PairRow, prompt: int) -> list[VerdictRow]:
    """The verdicts on a pair: those asked at once, and the second one where the first calls for it."""
    verdicts = [judging.verdict(pair, prompt, shown) for shown in orders_of(JUDGE, pair.orders)]
    plan = pair.orders
    if plan is not None and len(verdicts) == 1:
        expected = expected_win(pair.predicted, pair.win_probability)
        if plan.calls_for_second("j", verdicts[0].probability, expected):
            verdicts.append(judging.verdict(pair, prompt, 1 - verdicts[0].shown))
    return verdicts


def refit(counts: Sequence[Count], models: Sequence[str]) -> Snapshot:
    """What the product's refit makes of the counts."""
    summed: dict[tuple[Any, ...], Array] = {}
    for count in counts:
        summed[count[:5]] = summed.get(count[:5], np.zeros(4)) + np.array(count[5:])
    rows = [Count(*key, *values.tolist()) for key, values in sorted(summed.items())]
    seen = evidence([each._replace(bucket=0) for each in rows], tuple(models), 0.0, 1.0)
    return snapshot(fit_with_learned_scale(seen.counts, seen.models, seen.skills, Prior()), 1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folders(parser)
    parser.add_argument("--pairs", choices=("random", "informative"), default="random")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--doubt", type=float, nargs="+", default=[StreamSettings().most_order_doubt])
    parser.add_argument("--json", type=Path, metavar="OUT")
    given = parser.parse_args(arguments)
    _, recording = recordings(given, 0)
    rows = []
    size = f"{len(recording.data.prompts)} prompts × {PAIRS} pairs"
    print(f"{size}, {given.pairs}, {given.seeds} seeds; percent, ± standard error")
    print(f"{'judge':5} {'bias':>4} {'orders':14}" + "".join(f"{name:>15}" for name in FIGURES))
    for hard in (False, True):
        for bias in BIASES:
            settings: list[tuple[Setting, float]] = [
                ("both", 0.1),
                *(("adaptive", d) for d in given.doubt),
                ("one", 0.1),
            ]
            for setting, doubt in settings:
                stream = StreamSettings(orders=setting, most_order_doubt=doubt)
                found = [
                    run(recording, judging_of(recording, bias, hard, seed), stream, given.pairs, seed)
                    for seed in range(given.seeds)
                ]
                named = f"{setting} {doubt:g}" if setting == "adaptive" else setting
                means = {name: float(np.mean([each[name] for each in found])) for name in FIGURES}
                errors = {
                    name: float(np.std([each[name] for each in found], ddof=1) / np.sqrt(given.seeds))
                    for name in FIGURES
                }
                judge = "hard" if hard else "soft"
                rows.append({"judge": judge, "bias": bias, "orders": named, "mean": means, "error": errors})
                shown = (f"{100 * means[name]:.1f} ± {100 * errors[name]:.1f}" for name in FIGURES)
                print(f"{judge:5} {bias:4} {named:14}" + "".join(f"{text:>15}" for text in shown), flush=True)
    if given.json:
        given.json.write_text(json.dumps({"pairs": given.pairs, "seeds": given.seeds, "rows": rows}, indent=1))


def judging_of(recording: Recording, bias: float, hard: bool, seed: int) -> Judging:
    """The recorded preferences with an order effect; the noise is the same for every bias and setting of a seed."""
    logits = recording.judge._logits
    noise = np.random.default_rng([7, seed]).standard_normal((*logits.shape, logits.shape[1]))
    return Judging(logits[:, :, None] - logits[:, None, :] + bias + NOISE * noise, hard)


if __name__ == "__main__":
    main()
