"""Probabilities near 1 where the judge lapses or some prompts reverse the order of the models. For `hard_cases`.

Of each bin of the stated probability above .8: the stated error, the true one, and whether it is said to be reliable.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from karma.ranking.davidson import tie_probability, win_given_decisive
from karma.ranking.tail import EDGES, TOLERANCE, TailBin
from karma.store.records import Count
from karma_matching.budget.allocation import Budget
from karma_scoring.fit.competency import Prior, fit
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.predictions.win_calibration import calibrated_tail
from tests.benchmarks.finding import Finding
from tests.benchmarks.gated_stream import GatedStream
from tests.benchmarks.hard_pools import Array

#: Name of a judge or kind of prompts → (share of lapses, share of prompts that reverse the order).
JUDGES = {"as modeled": (0.0, 0.0), "lapses 10 %": (0.1, 0.0), "15 % reversed": (0.0, 0.15)}
_TIE = 0.3


class Bin(NamedTuple):
    """One bin of one stream or pool."""

    low: float
    stated: float  # error
    true: float
    state: str  # said


def label_bins(judge: str, seed: int, prompts: int, audit: float = 0.03, begun: int = 4_000) -> list[Bin]:
    """The bins of predicted labels under `judge_share = 0.3`, of the prompts after the first `begun`."""
    lapses, reversing = JUDGES[judge]
    theta = np.random.default_rng([seed, 7]).normal(0, 2.0, 12)
    budget = Budget(judge_share=0.3, audit_share=audit)
    stream = GatedStream(theta, budget, seed, variance=0.0, lapses=lapses, reversing=reversing)
    stream.run(range(begun), _any_of_twelve)
    log = stream.run(range(begun, prompts), _any_of_twelve)
    out = ~log.judged & (log.verdict != 0)
    stated = np.maximum(log.win, 1.0 - log.win)[out]
    wrong = ((log.win > 0.5) != (log.verdict > 0))[out]
    return _bins(stated, wrong.astype(np.float64), stream.tail)


def win_bins(judge: str, seed: int, verdicts: int, skills: int = 1) -> list[Bin]:
    """The bins of P(win) by competency, of 16 models with random pairs, in as many skills of half a logit's spread."""
    rng = np.random.default_rng([seed, 3])
    theta, models = np.sort(rng.normal(0, 1.6, 16)), 16
    names = [f"m{number:02d}" for number in range(models)]
    sides = np.triu_indices(models, 1)
    labels = [f"skill-{number}" for number in range(skills)] if skills > 1 else [""]
    rows, truth = [], []
    for skill in labels:
        own = theta + rng.normal(0, 0.5, models) if skill else theta
        shares = _shares(own[sides[0]] - own[sides[1]], *JUDGES[judge])
        number = rng.multinomial(verdicts // skills, np.full(len(sides[0]), 1 / len(sides[0])))
        won = rng.multinomial(number, shares.T)
        rows += [
            Count("judge", skill, names[a], names[b], 0, *map(float, outcome), float(sum(outcome)))
            for a, b, outcome in zip(sides[0].tolist(), sides[1].tolist(), won.tolist(), strict=True)
        ]
        truth.append(shares[0] / (shares[0] + shares[1]))
    seen = evidence(rows, names, 0.0, 720.0)
    known = snapshot(fit(seen.counts, seen.models, seen.skills, Prior()), 1)
    win = np.concatenate([known.win[known.row(skill or None)][sides] for skill in labels])
    better = np.concatenate(truth)
    return _bins(np.maximum(win, 1.0 - win), np.where(win > 0.5, 1.0 - better, better), calibrated_tail(seen, known))


def _shares(gap: Array, lapses: float, reversing: float) -> Array:
    """P(the first wins, the second wins, a tie), [3, n]."""
    shares = np.zeros((3, len(gap)))
    for part, scale in ((1.0 - reversing, 1.0), (reversing, -0.5)):
        tied, win = tie_probability(scale * gap, _TIE), win_given_decisive(scale * gap)
        shares += part * np.stack([(1 - tied) * win, (1 - tied) * (1 - win), tied])
    chance: Array = lapses * np.array([0.5, 0.5, 0.0])[:, None] + (1.0 - lapses) * shares
    return chance


def _bins(stated: Array, wrong: Array, said: Sequence[TailBin]) -> list[Bin]:
    states = {each.low: each.state for each in said}
    found = []
    for low, high in pairwise(EDGES):
        inside = (stated >= low) & ((stated < high) | (high == 1.0))
        if inside.any():
            mean = 1.0 - float(stated[inside].mean())
            found.append(Bin(low, mean, float(wrong[inside].mean()), states.get(low, "unknown")))
    return found


def tail_errors(streams: int = 10, pools: int = 20) -> list[Finding]:
    """Stated and true error of all bins, and how often a bin that is said to be reliable is."""
    found = []
    for judge in JUDGES:
        for what, bins in (
            ("labels, 14,000", [each for seed in range(streams) for each in label_bins(judge, seed, 14_000)]),
            ("wins, 6,000", [each for seed in range(pools) for each in win_bins(judge, seed, 6_000)]),
            ("wins, 330, six skills", [each for seed in range(pools) for each in win_bins(judge, seed, 330, 6)]),
            ("wins, 60,000", [each for seed in range(pools) for each in win_bins(judge, seed, 60_000)]),
        ):
            found += _summed_up(f"{judge}: {what}", bins)
    return found


def _summed_up(what: str, bins: list[Bin]) -> list[Finding]:
    found = []
    for low in EDGES[:-1]:
        stated, true = (
            np.array([getattr(each, name) for each in bins if each.low == low]) for name in ("stated", "true")
        )
        if len(stated):
            error = float((true - stated).std() / len(stated) ** 0.5)
            found.append(
                Finding("tail", f"{what}: error at P > {low:g}", float(stated.mean()), float(true.mean()), error)
            )
    away = np.array([abs(each.true - each.stated) > TOLERANCE for each in bins])
    for state in ("reliable", "unreliable", "unknown"):
        chosen = np.array([each.state == state for each in bins])
        found.append(Finding("tail", f"{what}: bins said to be {state}", float(chosen.mean()), float("nan"), 0.0))
        if chosen.any() and state == "reliable":
            found.append(Finding("tail", f"{what}: of these, off by over .015", float(away[chosen].mean()), 0.0, 0.0))
    return found


def _any_of_twelve(_prompt: int, rng: np.random.Generator) -> tuple[int, int]:
    first = int(rng.integers(12))
    return first, int((first + rng.integers(1, 12)) % 12)
