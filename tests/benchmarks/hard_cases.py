"""Valid and common cases in which plain statistics mislead: what KARMA says, what is true, and the standard error.

Each case draws from its seed alone. Real cases need recorded AlpacaEval answers (`KARMA_BENCH_DATA`) and are left out
without them.

    python -m tests.benchmarks.hard_cases [CASE ...] [--json OUT]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from karma.ranking.davidson import tie_probability, win_given_decisive
from karma.ranking.label_error import Audited
from karma.ranking.label_error_change import since_change
from karma.ranking.verdict_weights import PromptPair, prompt_weight
from karma.store.records import Count
from karma_scoring.fit.changes.drift import fit_with_drift
from karma_scoring.fit.competency import Prior
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.predictions.judge_budget import present_error
from karma_scoring.fit.time_buckets import bucket_at, coarse
from tests.benchmarks import (
    audit_coverage,
    change_power,
    cold_start,
    common_causes,
    gated_stream,
    hard_judges,
    hard_juries,
    hard_pools,
    hard_verdicts,
    hourly_limit,
    intransitive,
    limited_labels,
    tail_errors,
    wide_pools,
)
from tests.benchmarks.finding import Finding, run_cases
from tests.benchmarks.hard_pools import TIE, Z90, Array, Indices, fit_rows
from tests.support.alpaca import load

_STARTED = 1.8e9  # seconds since 1970
_NODES, _MASS = np.polynomial.hermite_e.hermegauss(41)
#: So wide that it hardly matters: the competencies are those of the data.
_WIDE = Prior(alpha_deviation=20.0, log_tie_deviation=5.0)


@dataclass(frozen=True, eq=False)
class AllPairs:
    """Verdicts on all pairs of K responses to each of P prompts, 1, −1 or 0, [P, K(K−1)/2]; and the competencies."""

    verdicts: Indices
    truth: Array  # [K], of the fit to verdicts on ever more prompts
    models: int

    @property
    def sides(self) -> tuple[Indices, Indices]:
        """The models of each pair."""
        return np.triu_indices(self.models, 1)

    @property
    def names(self) -> list[str]:
        """Names in the order of their numbers."""
        return [f"m{number:03d}" for number in range(self.models)]

    def counts(self, prompts: Indices, buckets: Indices | None = None) -> list[Count]:
        """The verdicts on prompts as the store counts them; all in one bucket, or each prompt's in its own."""
        first, second = self.sides
        formed = [PromptPair(0, a, b, 1) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
        weight, square = prompt_weight(formed).of(1.0)
        of_prompt = np.zeros(len(prompts), dtype=np.int64) if buckets is None else buckets
        names, rows = self.names, []
        for bucket in np.unique(of_prompt):
            verdicts = self.verdicts[prompts[of_prompt == bucket]]
            numbers = [(verdicts == outcome).sum(axis=0).tolist() for outcome in (1, -1, 0)]
            for a, b, *won in zip(first.tolist(), second.tolist(), *numbers, strict=True):
                weighed = [weight * each for each in won]
                rows.append(Count("judge", "", names[a], names[b], int(bucket), *weighed, square * sum(won)))
        return rows


def simulated(models: int, prompts: int, variance: float, seed: int) -> AllPairs:
    """A judge by Davidson's model, and responses whose quality varies with this variance around their model's."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(0, 1.0, models)
    first, second = np.triu_indices(models, 1)
    quality = theta + rng.normal(0, np.sqrt(variance), (prompts, models))
    gap = quality[:, first] - quality[:, second]
    tied, win = tie_probability(gap, TIE), win_given_decisive(gap)
    drawn = rng.random(gap.shape)
    verdicts = np.where(drawn < tied, 0, np.where(drawn < tied + (1 - tied) * win, 1, -1))
    spread = (theta[first] - theta[second])[:, None] + np.sqrt(2.0 * variance) * _NODES
    tied, win = tie_probability(spread, TIE), win_given_decisive(spread)
    shares = [values @ (_MASS / _MASS.sum()) for values in ((1 - tied) * win, (1 - tied) * (1 - win), tied)]
    return AllPairs(verdicts, _population(first, second, np.stack(shares), models), models)


def probes(models: int, prompts: int, seed: int) -> AllPairs:
    """Verdicts of a verifier, right against wrong; prompts differ in difficulty, so right answers come together."""
    rng = np.random.default_rng(seed)
    accuracy = np.clip(rng.normal(0.6, 0.12, models), 0.1, 0.95)
    ability = 1.5 * np.log(accuracy / (1.0 - accuracy))
    first, second = np.triu_indices(models, 1)

    def drawn(number: int) -> Indices:
        chance = 1.0 / (1.0 + np.exp(-ability - rng.normal(0, 1.5, (number, 1))))
        right = (rng.random((number, models)) < chance).astype(np.int64)
        return right[:, first] - right[:, second]

    many = drawn(60_000)
    shares = np.stack([(many == outcome).mean(axis=0) for outcome in (1, -1, 0)])
    return AllPairs(drawn(prompts), _population(first, second, shares, models), models)


def real() -> AllPairs:
    """AlpacaEval: 24 models, 480 prompts."""
    recording = load(Path(os.environ["KARMA_BENCH_DATA"]))
    models, prompts = len(recording.data.models), np.arange(len(recording.data.prompts))
    first, second = np.triu_indices(models, 1)
    verdicts = recording.judge.verdicts(prompts[:, None], first[None, :], second[None, :])
    shares = np.stack([(verdicts == outcome).mean(axis=0) for outcome in (1, -1, 0)])
    return AllPairs(verdicts, _population(first, second, shares, models), models)


def _population(first: Indices, second: Indices, shares: Array, models: int) -> Array:
    names = [f"m{number:03d}" for number in range(models)]
    rows = [
        Count("judge", "", names[a], names[b], 0, *(1e4 * share).tolist(), 1e4)
        for a, b, share in zip(first.tolist(), second.tolist(), shares.T, strict=True)
    ]
    return fit_rows(rows, names, _WIDE).mean[0, :models]


def coverage(pool: AllPairs, prompts: int, repetitions: int, seed: int) -> tuple[float, float]:
    """The share of gaps in their 90 % interval where all pairs of some prompts are judged, and its standard error."""
    rng, held = np.random.default_rng(seed), []
    first, second = pool.sides
    for _ in range(repetitions):
        drawn = rng.permutation(len(pool.verdicts))[:prompts]
        found = fit_rows(pool.counts(drawn), pool.names, Prior())
        covariance, mean = found.covariance[0], found.mean[0]
        variance = covariance[first, first] + covariance[second, second] - 2.0 * covariance[first, second]
        error = mean[first] - mean[second] - pool.truth[first] + pool.truth[second]
        held.append(np.mean(np.abs(error) < Z90 * np.sqrt(variance)))
    return float(np.mean(held)), float(np.std(held) / np.sqrt(repetitions))


def falsely_changed(pool: AllPairs, streams: int, seed: int, looks: tuple[float, ...] = (0.5, 0.75, 1.0)) -> list[int]:
    """How many models of each stream are said to have changed; its prompts come in random order, one each 5 s."""
    found = []
    for stream in range(streams):
        order = np.random.default_rng([seed, stream]).permutation(len(pool.verdicts))
        times = _STARTED + 5.0 * np.arange(len(order))
        changed: set[str] = set()
        for share in looks:
            seen = int(len(order) * share)
            now = float(times[seen - 1]) + 2.0
            buckets = np.array([coarse(bucket_at(float(time)), bucket_at(now)) for time in times[:seen]])
            given = evidence(pool.counts(order[:seen], buckets), pool.names, now, 720.0)
            changed |= {change.model for change in fit_with_drift(given, {}, {}).changes}
        found.append(len(changed))
    return found


def shared_prompts_cover(pool: AllPairs, name: str) -> list[Finding]:
    """Intervals where all pairs of 20, 40 and 100 prompts are judged."""
    found = []
    for prompts in (20, 40, 100):
        covered, error = coverage(pool, prompts, 60, seed=prompts)
        found.append(Finding("shared-prompts", f"{name}, 90 % intervals, {prompts} prompts", covered, 0.9, error))
    return found


def shared_prompts_drift(pool: AllPairs, name: str, streams: int) -> Finding:
    """Models said to have changed where none did."""
    changed = np.array(falsely_changed(pool, streams, seed=0))
    error = float(changed.std() * np.sqrt(streams))
    what = f"{name}, models of {pool.models * streams} falsely changed"
    return Finding("shared-prompts", what, float(changed.sum()), 0.0, error)


def shared_prompts() -> list[Finding]:
    """All pairs of a prompt are judged, so its verdicts are not independent."""
    found = []
    for variance in (0.0, 3.0):
        pool, name = simulated(12, 400, variance, seed=1), f"simulated, response variance {variance:.0f}"
        found += [*shared_prompts_cover(pool, name), shared_prompts_drift(pool, name, 100)]
    pool = probes(12, 4_000, seed=1)
    found += [*shared_prompts_cover(pool, "probes"), shared_prompts_drift(pool, "probes", 2)]
    if "KARMA_BENCH_DATA" in os.environ:
        pool = real()
        found += [*shared_prompts_cover(pool, "AlpacaEval"), shared_prompts_drift(pool, "AlpacaEval", 6)]
    return found


def old_audits() -> list[Finding]:
    """A long stream whose predicted labels become wrong: what the audit says some audited pairs later."""
    found = []
    for number in (20, 50, 100, 300):
        said = []
        for seed in range(20):
            wrong = np.random.default_rng(seed).random(20_000) < np.repeat([0.02, 0.5], [20_000 - number, number])
            newest = [Audited(0.03, bool(each), prompt) for prompt, each in enumerate(wrong)][::-1]
            error = present_error(newest, 600_000)
            said.append(error.estimate if error else float("nan"))
        what = f"label error {number} audits after it rose from .02"
        found.append(Finding("old-audits", what, float(np.mean(said)), 0.5, float(np.std(said) / np.sqrt(20))))
    alarms, error = 0, 0.05
    for seed in range(20):
        wrong = np.random.default_rng([1, seed]).random(20_000) < error
        given = [Audited(0.03, bool(each), prompt) for prompt, each in enumerate(wrong)]
        alarms += any(len(since_change(given[:number])) < number for number in range(200, 20_001, 200))
    return [*found, Finding("old-audits", "of 20 constant streams, with a false change", alarms, 0.0, alarms**0.5)]


CASES: dict[str, Callable[[], list[Finding]]] = {
    "shared-prompts": shared_prompts,
    "old-audits": old_audits,
    "audit-coverage": audit_coverage.audit_coverage,
    "swapped": gated_stream.swapped,
    "coin-flips": gated_stream.coin_flips,
    "new-model": gated_stream.new_model,
    "limited-labels": limited_labels.limited_labels,
    "tail": tail_errors.tail_errors,
    "overall": hard_pools.overall,
    "disconnected": hard_pools.disconnected,
    "intransitive": intransitive.intransitive,
    "self-preference": hard_judges.own_judges,
    "hourly-limit": hourly_limit.hourly_limit,
    "tie-rates": hard_verdicts.different_tie_rates,
    "both-orders": hard_verdicts.both_orders,
    "longer-answers": hard_judges.long_answers,
    "jury": hard_juries.agreements,
    "wide-pools": wide_pools.wide_pools,
    "common-causes": common_causes.common_causes,
    "cold-start": cold_start.cold_start,
    "change-power": change_power.change_power,
}


def main() -> None:
    """The command line."""
    run_cases(__doc__, CASES, 56)


if __name__ == "__main__":
    main()
