"""Simulated juries: hard and soft judges, copies of a judge, and judges that prefer a position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from karma.ranking.jury import JudgeWeight, Jury
from karma.store.records import VerdictRow
from karma.verdicts import resolve
from karma_scoring.fit.judges.jury_fit import fit_jury
from karma_scoring.fit.judges.votes import Votes, votes
from karma_scoring.fit.likelihood import Array, Indices


@dataclass(frozen=True)
class Member:
    """One judge."""

    name: str
    accuracy: float = 0.5
    spread: float | None = None  # standard deviation of a soft judge's logits given the label; None: a hard judge
    copies: str | None = None  # name of an earlier judge whose verdict it repeats
    copied: float = 0.97  # share of verdicts that it repeats; the others are its own
    says_first: float = 0.0  # share of its calls in which it names the first response, whatever it is
    ties: float = 0.0  # share of pairs on which it takes no side


@dataclass(frozen=True, eq=False)
class Drawn:
    """The verdicts of a jury on pairs of which it is known which response is better."""

    names: tuple[str, ...]
    truth: Array  # [n] 1: response a, −1: response b
    pair: Indices
    judge: Indices
    shown: Indices
    probability: Array
    reference: Array  # [n] the truth where it is given, else 0

    @property
    def votes(self) -> Votes:
        """The verdicts as arrays."""
        return votes(self.names, self.pair, self.judge, self.shown, self.probability, self.reference)

    def right(self, jury: Jury | None) -> float:
        """The share of right labels, resolved as pairs are; a label without a side counts as half right."""
        return float(self.each_right(jury).mean())

    def each_right(self, jury: Jury | None) -> Array:
        """[n] 1 where the label is right, 0 where it is wrong, 1/2 without a side."""
        given: list[list[VerdictRow]] = [[] for _ in self.truth]
        columns = (self.pair.tolist(), self.judge.tolist(), self.shown.tolist(), self.probability.tolist())
        for pair, judge, shown, p in zip(*columns, strict=True):
            given[pair].append(VerdictRow(pair, self.names[judge], shown, p, None))
        resolved = [resolve(rows, jury=jury) for rows in given]
        sides = np.array([0 if r.outcome != "decisive" else 1 if r.a_is_chosen else -1 for r in resolved])
        right: Array = (1.0 + sides * self.truth) / 2.0
        return right

    def right_alone(self) -> Array:
        """[n, J] the same of each judge alone."""
        right: Array = (1.0 + self.votes.side * self.truth[:, None]) / 2.0
        return right

    def best(self) -> float:
        """The share of right labels by the best single judge of these pairs, chosen with hindsight."""
        return float(self.right_alone().mean(axis=0).max())


def draw(
    members: Sequence[Member],
    pairs: int,
    seed: int,
    orders: int = 2,
    referenced: float = 0.0,
    hard: float = 0.0,
    judges_per_pair: int | None = None,
    by_all: float = 0.0,
) -> Drawn:
    """The verdicts of a jury.

    Args:
        members: the judges.
        pairs: their number.
        seed: of the draw.
        orders: asked of each pair; one is drawn, the same for all judges.
        referenced: share of the pairs with a reference.
        hard: share of the pairs on which every judge guesses.
        judges_per_pair: judges drawn for each pair; all of them if None.
        by_all: share of the pairs that all judges are asked of all the same.
    """
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random(pairs) < 0.5, 1.0, -1.0)
    guessed = rng.random(pairs) < hard
    drawn = rng.integers(2, size=pairs)
    logits: dict[str, Array] = {}
    columns: list[list[Array]] = [[], [], [], []]
    for index, member in enumerate(members):
        logit = _logits(rng, member, truth, guessed)
        if member.copies is not None:
            logit = np.where(rng.random(pairs) < member.copied, logits[member.copies], logit)
        logits[member.name] = logit
        tied = rng.random(pairs) < member.ties
        for order in (0, 1):
            asked = np.arange(pairs) if orders == 2 else np.flatnonzero(drawn == order)
            p = 1.0 / (1.0 + np.exp(-logit[asked] * (1.0 - 2.0 * order)))
            p = np.where(tied[asked], 0.5, p)
            p = np.where(rng.random(len(asked)) < member.says_first, 1.0, p)
            for column, values in zip(columns, (asked, np.full(len(asked), index), np.full(len(asked), order), p)):  # noqa: B905
                column.append(values)
    pair, judge, shown, probability = (np.concatenate(column) for column in columns)
    reference = np.where(rng.random(pairs) < referenced, truth, 0.0)
    names = tuple(member.name for member in members)
    if judges_per_pair is not None:
        asked = np.argsort(rng.random((pairs, len(members))), axis=1) < judges_per_pair
        asked |= rng.random((pairs, 1)) < by_all
        kept = asked[pair, judge]
        pair, judge, shown, probability = pair[kept], judge[kept], shown[kept], probability[kept]
    return Drawn(names, truth, pair, judge, shown, probability.astype(np.float64), reference)


def _logits(rng: np.random.Generator, member: Member, truth: Array, guessed: Array) -> Array:
    """For response a. A soft judge's are Gaussian around the label, a hard judge's infinite."""
    if member.spread is None:
        right = rng.random(len(truth)) < np.where(guessed, 0.5, member.accuracy)
        return np.asarray(np.where(right, truth, -truth) * 50.0, dtype=np.float64)
    mean = NormalDist().inv_cdf(member.accuracy) * np.where(guessed, 0.0, truth)
    return np.asarray(member.spread * (mean + rng.normal(size=len(truth))), dtype=np.float64)


def weights_of(drawn: Drawn, anchors: Mapping[str, float] | None = None) -> dict[str, JudgeWeight]:
    """The fitted weights."""
    return fit_jury(drawn.votes, anchors or {})
