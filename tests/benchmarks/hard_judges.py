"""Judges with a bias, or with none where one seems to be: cases of `hard_cases`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from karma.store.judged_pairs import JudgedPair
from karma.store.pair_quality import PairQuality
from karma.store.records import Count, PairRecord, PairRow, VerdictRow
from karma_monitor.figures.judges.length import length_bias
from karma_scoring.fit.competency import Prior
from karma_scoring.fit.judges.self_preference import self_preference
from karma_scoring.fit.kinship import snapshot
from tests.benchmarks.finding import Finding
from tests.benchmarks.hard_pools import Array, fit_rows

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
    referenced: float = 0.0  # share of pairs with a reference, which calls one response right where it is better

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
            names, quality = (f"m{a}", f"m{b}"), (None, None)
            if self.referenced and rng.random() < self.referenced:
                quality = (1.0, 0.0) if rng.random() < _logistic(gap) else (0.0, 1.0)
            drawn.append(JudgedPair(number, "s", None, 2 * number, 2 * number + 1, *names, *quality, 0.0, sides))
        return drawn, float(np.mean(excess))


def _logistic(value: float) -> float:
    return float(1.0 / (1.0 + np.exp(-value)))


@dataclass(frozen=True)
class LongAnswers:
    """A stream in which better responses are longer, judged by `j`, and by `k` or a reference."""

    bias: float = 0.0  # logits that j adds to the response that is longer by one standard deviation
    sharpness: float = 1.0  # of j
    other: float | None = None  # sharpness of k; None without k
    checked: bool = False  # by a reference
    only_correctness: bool = True  # is quality where there is a reference; else it sees less than the judge
    models: float = 0.9  # correlation of the models' competency and length
    responses: float = 0.7  # by how much a response is longer whose quality is one logit better
    pairs: int = 3_000

    def draw(self, seed: int) -> tuple[PairQuality, float]:
        """The sums over the pairs, and the true share that j gives to the longer response for its length.

        With a reference it is that of the responses that the reference calls equal.
        """
        rng, number = np.random.default_rng(seed), 8
        theta = rng.normal(0, 1.2, number)
        usual = self.models * theta / 1.2 + np.sqrt(1.0 - self.models**2) * rng.normal(0, 1.0, number)
        names = [f"m{model}" for model in range(number)]
        rows: list[Count] = []
        quality, win, bias = PairQuality(), np.full((number, number), 0.5), []
        for pair in range(self.pairs):
            if pair % 300 == 0 and rows:
                win = snapshot(fit_rows(rows, names, Prior()), 1).win[0]
            a = int(rng.integers(number))
            b = int((a + rng.integers(1, number)) % number)
            two, right = [a, b], None
            latent = theta[two] + rng.normal(0, 1.0, 2)
            if self.checked:
                right = rng.random(2) < 1.0 / (1.0 + np.exp(-latent))
                latent = 3.0 * right if self.only_correctness else latent
            length = usual[two] + self.responses * (latent - theta[two]) + rng.normal(0, 0.5, 2)
            gap, added = latent[0] - latent[1], self.bias * (length[0] - length[1])
            chances = {"j": _logistic(self.sharpness * gap + added)}
            if right is None or right[0] == right[1]:
                bias.append((chances["j"] - _logistic(self.sharpness * gap)) * np.sign(length[0] - length[1]))
            if self.other is not None:
                chances["k"] = _logistic(self.other * gap)
            sides = {judge: rng.random() < chance for judge, chance in chances.items() if rng.random() >= _TIES}
            characters = np.exp(6.0 + 0.4 * length).astype(int).tolist()
            quality.add(_record(pair, (names[a], names[b]), characters, right, float(win[a, b]), sides))
            if "j" in sides:
                won = float(sides["j"])
                rows.append(Count("judge", "", names[a], names[b], 0, won, 1.0 - won, 0.0, 1.0))
        return quality, float(np.mean(bias))


def _record(
    number: int,
    models: tuple[str, str],
    characters: list[int],
    right: Array | None,
    win: float,
    sides: Mapping[str, bool],
) -> PairRecord:
    """A judged pair; each judge's verdict in one order."""
    a_is_chosen = sides.get("j", False)
    return PairRecord(
        pair=PairRow(
            *(number, number, 2 * number, 2 * number + 1, *models, "random", 0, 1, 1.0, None, None, None, None, None),
            *(win, None, *characters, *((None, None) if right is None else right.astype(float).tolist())),
        ),
        stream="s",
        outcome="decisive" if "j" in sides else "tie",
        a_is_chosen=a_is_chosen,
        probability=0.9 if a_is_chosen else 0.1,
        label_source="judge" if "j" in sides else None,
        resolved_at=1.0,
        verdicts=[VerdictRow(number, judge, 0, 0.9 if side else 0.1, None) for judge, side in sides.items()],
    )


_LONG_ANSWERS = {
    "the only judge": LongAnswers(),
    "the only judge, biased": LongAnswers(bias=0.5),
    "with another": LongAnswers(other=1.0),
    "with another, biased": LongAnswers(bias=0.5, other=1.0),
    "sharper than another": LongAnswers(sharpness=1.5, other=1.0),
    "blunter than another": LongAnswers(sharpness=0.6, other=1.0),
    "blunter, biased": LongAnswers(bias=0.5, sharpness=0.6, other=1.0),
    "with a reference": LongAnswers(checked=True, models=0.3, responses=0.3, pairs=6_000),
    "with a reference, biased": LongAnswers(bias=0.5, checked=True, models=0.3, responses=0.3, pairs=6_000),
    "with a reference that sees less": LongAnswers(checked=True, only_correctness=False),
}


def long_answers(repetitions: int = 12) -> list[Finding]:
    """Better responses are longer: the excess of longer wins, its z, and the length bias where something tells it."""
    found = []
    for name, case in _LONG_ANSWERS.items():
        excess, old_z, said, scores, true, unknown = [], [], [], [], [], 0
        for seed in range(repetitions):
            quality, bias = case.draw(seed)
            sums, policy = quality.judges["j"], quality.policies["s", "random"]
            excess.append(100.0 * (sums.longer - sums.longer_expected) / (sums.longer + sums.shorter))
            old_z.append((sums.longer - sums.longer_expected) / policy.longer_variance**0.5)
            known = length_bias(sums)
            true.append(100.0 * bias)
            if known["bias"] is None:
                unknown += 1
            else:
                said.append(100.0 * known["bias"])
                scores.append((known["bias"] - bias) / known["error"])
        truth, root = float(np.mean(true)), repetitions**0.5
        z = f"{name}: excess wins of longer, z {np.mean(old_z):.1f}, points"
        found.append(Finding("longer-answers", z, float(np.mean(excess)), truth, float(np.std(excess)) / root))
        found.append(Finding("longer-answers", f"{name}: of {repetitions} confounded", unknown, 0.0, 0.0))
        if said:
            error = float(np.std(said) / np.sqrt(len(said)))
            found.append(Finding("longer-answers", f"{name}: bias, points", float(np.mean(said)), truth, error))
            of_error = float(np.sqrt(np.mean(np.square(scores))))
            found.append(Finding("longer-answers", f"{name}: root mean square of z", of_error, 1.0, 0.0))
    return found


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
