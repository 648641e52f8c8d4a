"""Streams in which every competency seems to change at once, or one model does: cases of `hard_cases`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from karma.ranking.common_change import CommonChange
from karma.ranking.davidson import tie_probability, win_given_decisive
from karma.store.records import Count
from karma_scoring.fit.changes.drift import fit_with_drift
from karma_scoring.fit.evidence import Evidence, evidence
from karma_scoring.fit.time_buckets import BUCKET_S, coarse
from tests.benchmarks.finding import Finding
from tests.benchmarks.hard_pools import TIE, Array, Indices

_STARTED = 900_000_000  # the first bucket
_HALF_LIFE_H = 720.0


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Verdicts on random pairs of models, in the order of time; all arrays have shape [n]."""

    models: int
    skills: int  # 0: prompts without a skill
    skill: Indices
    one: Indices
    other: Indices
    outcome: Indices  # 0: `one` won, 1: `other` won, 2: a tie
    bucket: Indices

    def seen(self, number: int) -> Evidence:
        """The evidence after so many verdicts."""
        return evidence(self.counts(number), self.names, self.now(number), _HALF_LIFE_H)

    def now(self, number: int) -> float:
        """Seconds since 1970 after so many verdicts."""
        return (int(self.bucket[number - 1]) + 1) * BUCKET_S

    def counts(self, number: int) -> list[Count]:
        """So many verdicts as the store counts them."""
        part = slice(number)
        now = int(self.bucket[number - 1]) + 1
        merged = {bucket: coarse(bucket, now) for bucket in np.unique(self.bucket[part]).tolist()}
        bucket = np.array([merged[each] for each in self.bucket[part].tolist()])
        turned = self.one[part] > self.other[part]
        low, high = np.minimum(self.one[part], self.other[part]), np.maximum(self.one[part], self.other[part])
        outcome = np.where(turned & (self.outcome[part] < 2), 1 - self.outcome[part], self.outcome[part])
        cells, index = np.unique(np.stack([self.skill[part], low, high, bucket]), axis=1, return_inverse=True)
        numbers = np.zeros((cells.shape[1], 3))
        np.add.at(numbers, (index.ravel(), outcome), 1.0)
        names = self.names
        return [
            Count("judge", f"s{skill}" if skill >= 0 else "", names[a], names[b], at, *won, sum(won))
            for (skill, a, b, at), won in zip(cells.T.tolist(), numbers.tolist(), strict=True)
        ]

    @property
    def names(self) -> list[str]:
        """Names in the order of their numbers."""
        return [f"m{number:03d}" for number in range(self.models)]


def verdicts(
    theta: Callable[[Indices], Array], models: int, number: int, rng: np.random.Generator, per_second: float = 3.0
) -> Verdicts:
    """Verdicts by Davidson's model.

    Args:
        theta: competencies at each of the verdicts, [n] → [n, S, M]; for S = 1 prompts have no skill.
        models: M.
        number: n.
        rng: draws pairs and verdicts.
        per_second: verdicts.
    """
    at = np.arange(number)
    known = theta(at)
    skills = known.shape[1]
    skill, one = rng.integers(skills, size=number), rng.integers(models, size=number)
    other = (one + rng.integers(1, models, size=number)) % models
    gap = known[at, skill, one] - known[at, skill, other]
    tied, win = tie_probability(gap, TIE), win_given_decisive(gap)
    drawn = rng.random(number)
    outcome = np.where(drawn < tied, 2, np.where(drawn < tied + (1 - tied) * win, 0, 1))
    bucket = _STARTED + (at / per_second // BUCKET_S).astype(np.int64)
    if skills == 1:
        skill = np.full(number, -1)
    return Verdicts(models, 0 if len(known[0]) == 1 else skills, skill, one, other, outcome, bucket)


def topic(models: int, number: int, rng: np.random.Generator, deviation: float = 0.7) -> Verdicts:
    """The topic changes half-way, and no skill tells it: every model's competency moves a little."""
    before = rng.normal(0, 1.4, models)
    after = before + rng.normal(0, deviation, models)
    return verdicts(lambda at: np.where(at[:, None] < number // 2, before, after)[:, None], models, number, rng)


def blocks(models: int, number: int, rng: np.random.Generator, deviation: float = 0.7) -> Verdicts:
    """Four topics in blocks of 500 verdicts, again and again."""
    topics = rng.normal(0, 1.4, models) + rng.normal(0, deviation, (4, models))
    return verdicts(lambda at: topics[at // 500 % 4][:, None], models, number, rng)


def sharper(models: int, number: int, rng: np.random.Generator, scale: float = 2.2) -> Verdicts:
    """The judge is swapped half-way for one to whom every gap is so many times as large."""
    theta = rng.normal(0, 1.0, models)
    return verdicts(lambda at: (np.where(at < number // 2, 1.0, scale)[:, None] * theta)[:, None], models, number, rng)


def duller(models: int, number: int, rng: np.random.Generator) -> Verdicts:
    """The same the other way round."""
    return sharper(models, number, rng, 1 / 2.2)


def constant(models: int, number: int, rng: np.random.Generator) -> Verdicts:
    """Nothing changes; three skills."""
    theta = rng.normal(0, 1.4, models) + rng.normal(0, 0.5, (3, models))
    return verdicts(lambda at: np.broadcast_to(theta, (len(at), *theta.shape)), models, number, rng)


def swapped(models: int, number: int, rng: np.random.Generator, changed: int = 1, by: float = 2.0) -> Verdicts:
    """The first models change by so much half-way, each away from the side on which it is."""
    before = rng.normal(0, 1.0, models)
    after = before.copy()
    after[:changed] -= by * np.where(before[:changed] > before.mean(), 1.0, -1.0)
    return verdicts(lambda at: np.where(at[:, None] < number // 2, before, after)[:, None], models, number, rng)


@dataclass(frozen=True)
class Seen:
    """What was said of a stream."""

    changed: frozenset[str]  # models
    common: frozenset[str]  # kinds of common changes
    noticed: int | None  # verdicts of the stream until the first model was said to have changed


def looked_at(stream: Verdicts, looks: list[int]) -> Seen:
    """Everything said after so many verdicts each."""
    changed: set[str] = set()
    common: list[CommonChange] = []
    noticed = None
    for number in looks:
        fitted = fit_with_drift(stream.seen(number), {}, {}, known=common)
        changed |= {change.model for change in fitted.changes}
        common += fitted.common
        if changed and noticed is None:
            noticed = number
    return Seen(frozenset(changed), frozenset(change.kind for change in common), noticed)


def said(
    make: Callable[..., Verdicts], models: int, number: int, streams: int, seed: int, looks: int = 15, **options: float
) -> list[Seen]:
    """What is said of so many streams, each looked at so often, evenly."""
    at = [number * look // looks for look in range(1, looks + 1)]
    return [looked_at(make(models, number, np.random.default_rng([seed, s]), **options), at) for s in range(streams)]


def common_causes() -> list[Finding]:
    """A common cause should be named and no model held to have changed; a change of one model should still be found."""
    found, streams = [], 20
    for name, make in (("topic", topic), ("blocks", blocks), ("sharper judge", sharper), ("duller judge", duller)):
        seen = said(make, 10, 6000, streams, seed=501)
        named = np.array([bool(one.common) for one in seen])
        wrong = np.array([len(one.changed) for one in seen])
        what = f"{name}: streams whose common cause is named"
        found.append(Finding("common-causes", what, named.mean(), 1.0, float(named.std() / np.sqrt(streams))))
        what = f"{name}: models of {10 * streams} held to have changed"
        found.append(Finding("common-causes", what, wrong.sum(), 0.0, float(wrong.std() * np.sqrt(streams))))
    seen = said(constant, 10, 6000, streams, seed=501)
    found.append(Finding("common-causes", "nothing: changes", sum(len(one.changed) for one in seen), 0.0, 0.0))
    found.append(Finding("common-causes", "nothing: common causes", sum(len(one.common) for one in seen), 0.0, 0.0))
    for models, changed in ((3, 1), (4, 1), (10, 1), (6, 2), (10, 2)):
        seen = said(swapped, models, 400 * models, streams, seed=502, changed=changed)
        first = {f"m{number:03d}" for number in range(changed)}
        right = np.array([first <= one.changed for one in seen])
        name = f"{changed} of {models} models swapped"
        error = float(right.std() / np.sqrt(streams))
        found += [
            Finding("common-causes", f"{name}: streams in which it is found", right.mean(), 1.0, error),
            Finding("common-causes", f"{name}: others", sum(len(one.changed - first) for one in seen), 0.0, 0.0),
            Finding("common-causes", f"{name}: common causes", sum(bool(one.common) for one in seen), 0.0, 0.0),
        ]
    return found
