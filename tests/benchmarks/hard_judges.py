"""Judges with a bias, or with none where one seems to be: cases of `hard_cases`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from karma.store.judged_pairs import JudgedPair
from karma_scoring.fit.self_preference import self_preference
from tests.benchmarks.finding import Finding

_TIES = 0.2  # share of verdicts without a side


@dataclass(frozen=True)
class OwnJudge:
    """A stream that is judged by `j`, whose own model is `m0`, and by `k`, which has none."""

    pairs: int = 4_000
    models: int = 8
    inflated: float = 1.0  # logits that j adds to its own model
    own: float | None = None  # competency of m0; None: drawn as that of the others
    sharpness: float = 1.0  # of j; that of k is 1
    judged: Literal["alone", "halves", "both"] = "both"  # by j alone, each pair by one of them, or by both
    variance: float = 0.0  # of the responses' quality around their models', which both judges see

    def draw(self, seed: int) -> tuple[list[JudgedPair], float]:
        """The pairs, and the true excess of j's verdicts for m0."""
        rng = np.random.default_rng(seed)
        theta = rng.normal(0, 1.0, self.models)
        if self.own is not None:
            theta[0] = self.own
        drawn, excess = [], []
        for number in range(self.pairs):
            a = int(rng.integers(self.models))
            b = int((a + rng.integers(1, self.models)) % self.models)
            gap = theta[a] - theta[b] + rng.normal(0, np.sqrt(2.0 * self.variance))
            own = (a == 0) - (b == 0)
            fair, said = _logistic(self.sharpness * gap), _logistic(self.sharpness * gap + self.inflated * own)
            chances = {"j": said, "k": _logistic(gap)}
            if self.judged != "both":
                other = self.judged == "halves" and rng.random() < 0.5
                del chances["j" if other else "k"]
            taken = {judge: chance for judge, chance in chances.items() if rng.random() >= _TIES}
            sides = {judge: 1 if rng.random() < chance else -1 for judge, chance in taken.items()}
            if own and "j" in sides:
                excess.append(own * (said - fair))
            names = (f"m{a}", f"m{b}")
            drawn.append(JudgedPair(number, "s", None, 2 * number, 2 * number + 1, *names, None, None, 0.0, sides))
        return drawn, float(np.mean(excess))


def _logistic(value: float) -> float:
    return float(1.0 / (1.0 + np.exp(-value)))


_OWN_JUDGES = {
    "the only judge": OwnJudge(judged="alone"),
    "another judges the other half": OwnJudge(judged="halves"),
    "the same, 10,000 pairs": OwnJudge(judged="halves", pairs=10_000),
    "another judges the same pairs": OwnJudge(),
    "the same, responses vary": OwnJudge(variance=2.0),
    "not inflated, own model 2 logits": OwnJudge(inflated=0.0, own=2.0),
    "the same, a sharper judge": OwnJudge(inflated=0.0, own=2.0, sharpness=1.5),
    "the same, a blunter judge": OwnJudge(inflated=0.0, own=2.0, sharpness=0.6),
}


def own_judges(repetitions: int = 20) -> list[Finding]:
    """A judge whose own model is in the pool: the excess of its wins, where it is said, and how often it is not."""
    found = []
    for name, case in _OWN_JUDGES.items():
        said, true = [], []
        for seed in range(repetitions):
            pairs, excess = case.draw(seed)
            known = self_preference(pairs, "j", {"m0"}, {"k"}).excess
            if known is not None:
                said.append(100.0 * known)
                true.append(100.0 * excess)
        what = f"{name}: of {repetitions} unknown"
        found.append(Finding("self-preference", what, repetitions - len(said), 0.0, 0.0))
        if said:
            worst = float(np.max(np.abs(np.array(said) - np.array(true))))
            error = float(np.std(said) / np.sqrt(len(said)))
            what = f"{name}: points"
            found.append(Finding("self-preference", what, float(np.mean(said)), float(np.mean(true)), error))
            found.append(Finding("self-preference", f"{name}: worst error, points", worst, 0.0, 0.0))
    return found
