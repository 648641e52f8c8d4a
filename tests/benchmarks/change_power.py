"""How many verdicts it takes until a true change of one model is noticed: a case of `hard_cases`.

The weights of verdicts that share a prompt are compared with a weight of 1 each, which gives false alarms where several
pairs of a prompt are judged.
"""

from __future__ import annotations

import numpy as np

from karma.ranking.davidson import tie_probability, win_given_decisive
from karma.ranking.verdict_weights import PromptPair, prompt_weight
from karma.store.records import Count
from karma_scoring.fit.changes.drift import fit_with_drift
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.time_buckets import BUCKET_S, coarse
from tests.benchmarks.finding import Finding
from tests.benchmarks.hard_pools import TIE, Array

_STARTED = 900_000_000  # the first bucket
_MODELS = 12
_BEFORE = 6000  # verdicts of the stream before the change


class Prompts:
    """A stream of prompts, each answered by some models; all pairs of its responses are judged.

    Args:
        responses: of a prompt, K.
        variance: of a response's quality around its model's competency, squared logits.
        change: of the first model's competency after `before` prompts, logits.
        before: prompts.
        seed: of everything.
    """

    def __init__(self, responses: int, variance: float, change: float, before: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._responses, self._deviation = responses, float(np.sqrt(variance))
        self._theta = self._rng.normal(0, 1.0, _MODELS)
        self._change = -np.sign(self._theta[0] - self._theta.mean()) * change
        self._before, self._done = before, 0
        self._numbers: dict[tuple[int, int, int], Array] = {}
        sides = [PromptPair(0, a, b, 1) for a in range(responses) for b in range(a + 1, responses)]
        self._weight, self._square = prompt_weight(sides).of(1.0)
        self.of_changed = 0  # verdicts on the first model since the change

    def judge(self, prompts: int) -> None:
        """Add verdicts on so many prompts."""
        first, second = np.triu_indices(self._responses, 1)
        for _ in range(prompts):
            if self._done == self._before:
                self._theta[0] += self._change
            models = np.sort(self._rng.permutation(_MODELS)[: self._responses])
            quality = self._theta[models] + self._rng.normal(0, self._deviation, self._responses)
            gap = quality[first] - quality[second]
            tied, win = tie_probability(gap, TIE), win_given_decisive(gap)
            drawn = self._rng.random(len(gap))
            outcomes = np.where(drawn < tied, 2, np.where(drawn < tied + (1 - tied) * win, 0, 1))
            bucket = _STARTED + self._done // 2
            for a, b, outcome in zip(models[first].tolist(), models[second].tolist(), outcomes.tolist(), strict=True):
                self._numbers.setdefault((a, b, bucket), np.zeros(3))[outcome] += 1.0
            self.of_changed += int(self._done >= self._before and models[0] == 0) * (self._responses - 1)
            self._done += 1

    def changed(self, weighted: bool) -> set[str]:
        """The models that are held to have changed, with the weights of prompts or with 1 a verdict."""
        now = _STARTED + self._done // 2 + 1
        weight, square = (self._weight, self._square) if weighted else (1.0, 1.0)
        merged: dict[tuple[int, int, int], Array] = {}
        for (a, b, bucket), numbers in self._numbers.items():
            cell = merged.setdefault((a, b, coarse(bucket, now)), np.zeros(3))
            cell += numbers
        rows = [
            Count("judge", "", f"m{a:02d}", f"m{b:02d}", bucket, *(weight * won).tolist(), square * float(won.sum()))
            for (a, b, bucket), won in merged.items()
        ]
        seen = evidence(rows, [f"m{number:02d}" for number in range(_MODELS)], now * BUCKET_S, 720.0)
        return {change.model for change in fit_with_drift(seen, {}, {}).changes}


def until_noticed(responses: int, variance: float, seed: int, every: int) -> tuple[list[float], list[int]]:
    """Its verdicts until a change by 2 logits is noticed; models wrongly held to have changed: by weights, and not."""
    pairs = responses * (responses - 1) // 2
    before = _BEFORE // pairs
    prompts = Prompts(responses, variance, 2.0, before, seed)
    prompts.judge(before)
    wrong = [len(prompts.changed(weighted) - {"m00"}) for weighted in (True, False)]
    noticed = [float("inf")] * 2
    for _ in range(60):
        prompts.judge(every)
        for place, weighted in enumerate((True, False)):
            if np.isinf(noticed[place]) and "m00" in prompts.changed(weighted):
                noticed[place] = float(prompts.of_changed)
        if np.isfinite(noticed).all():
            break
    return noticed, wrong


def change_power(streams: int = 15) -> list[Finding]:
    """A change by 2 logits with the weights of prompts, over the same with 1 a verdict."""
    found = []
    for responses, variance, every in ((2, 0.0, 60), (4, 0.0, 8), (4, 3.0, 8), (12, 0.0, 1), (12, 3.0, 1)):
        results = [until_noticed(responses, variance, seed, every) for seed in range(streams)]
        weighted, plain = (np.array([noticed[place] for noticed, _ in results]) for place in (0, 1))
        wrong = np.array([counts for _, counts in results]).sum(axis=0)
        name = f"K = {responses}, response variance {variance:.0f}"
        half = 1.2533 / np.sqrt(streams)  # standard error of a median of normal values, in deviations
        spread = float(np.std(weighted[np.isfinite(weighted)]) * half)
        found += [
            Finding("change-power", f"{name}: its verdicts until noticed", float(np.median(weighted)), 0.0, spread),
            Finding("change-power", f"{name}: with 1 a verdict", float(np.median(plain)), 0.0, 0.0),
            Finding("change-power", f"{name}: ratio", float(np.median(weighted) / np.median(plain)), 1.0, 0.0),
            Finding("change-power", f"{name}: wrongly changed before", float(wrong[0]), 0.0, 0.0),
            Finding("change-power", f"{name}: the same, 1 a verdict", float(wrong[1]), 0.0, 0.0),
        ]
    return found
