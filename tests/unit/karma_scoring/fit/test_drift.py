"""Drift: a model that becomes another is followed, and nobody else is suspected."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from karma.store.records import Count
from karma_scoring.fit.changes import common_change, drift
from karma_scoring.fit.changes.change_evidence import Difference, Rows, difference_at, move_factors
from karma_scoring.fit.changes.drift import CERTAIN, changes, fit_with_drift, former_until, present, without_former
from karma_scoring.fit.competency import Posterior
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.time_buckets import bucket_at, coarse
from tests.benchmarks.common_causes import sharper

MODELS, SKILLS = tuple("abcdef"), ("x", "y", "z")
SWAPPED = 0
#: The swapped model has two in six of the places, so this many verdicts of all hold ten of its.
TEN_OF_ITS = 30

Array = NDArray[np.float64]


@dataclass
class Stream:
    """Verdicts on random pairs, counted as the store counts them, refitted as the refit does."""

    seed: int
    per_second: float
    now: float = 1.8e9
    playing: int = 6  # models, from the first on
    counts: dict[tuple[str, str, str, int], list[float]] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    last: Posterior | None = None

    def __post_init__(self) -> None:
        """A random pool."""
        self.rng = np.random.default_rng(self.seed)
        self.truth: Array = self.rng.normal(0, 1.0, 6) + self.rng.normal(0, 0.3, (3, 6))

    def judge(self, number: int) -> None:
        """Add verdicts by Davidson's model, ν = 0.5."""
        times = self.now + self.rng.exponential(1 / self.per_second, number).cumsum()
        skills = self.rng.integers(3, size=number)
        one = self.rng.integers(self.playing, size=number)
        other = (one + self.rng.integers(1, self.playing, size=number)) % self.playing
        first, second = np.minimum(one, other), np.maximum(one, other)
        gap = self.truth[skills, first] - self.truth[skills, second]
        odds = np.stack([np.exp(gap / 2), np.exp(-gap / 2), np.full(number, 0.5)])
        outcomes = (self.rng.random(number) > (odds / odds.sum(axis=0)).cumsum(axis=0)[:2]).sum(axis=0)
        for now, skill, a, b, outcome in zip(
            times.tolist(), skills.tolist(), first.tolist(), second.tolist(), outcomes.tolist(), strict=True
        ):
            key = (SKILLS[skill], MODELS[a], MODELS[b], bucket_at(now))
            self.counts.setdefault(key, [0.0] * 3)[outcome] += 1.0
        self.now = float(times[-1])

    def refit(self) -> Posterior:
        """Merge buckets, fit, and remember what changed, as `refit` does in the store."""
        merged: dict[tuple[str, str, str, int], list[float]] = {}
        for (skill, a, b, bucket), numbers in self.counts.items():
            cell = merged.setdefault((skill, a, b, coarse(bucket, bucket_at(self.now))), [0.0] * 3)
            cell[:] = [x + y for x, y in zip(cell, numbers, strict=True)]
        rows = [Count("judge", *key, *numbers, sum(numbers)) for key, numbers in merged.items()]
        fitted = fit_with_drift(evidence(rows, MODELS, self.now, 720.0), {}, {}, self.last)
        for change in fitted.changes:
            self.found.append(change.model)
            merged = {
                (
                    skill,
                    *(change.former if name == change.model and bucket < change.bucket else name for name in pair),
                    bucket,
                ): numbers
                for (skill, *pair, bucket), numbers in merged.items()
            }
        self.counts, self.last = merged, fitted.posterior
        return without_former(fitted.posterior)

    def errors(self, found: Posterior) -> Array:
        """Means less truth over deviations, [overall and 3 skills, 6]."""
        truth = np.concatenate([self.truth.mean(axis=0, keepdims=True), self.truth])
        truth -= truth.mean(axis=1, keepdims=True)
        deviation = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
        errors: Array = (found.mean[:, :6] - truth) / deviation[:, :6]
        return errors


@pytest.mark.parametrize(
    "per_second", [10.0, 0.001], ids=["200 of its verdicts a minute", "200 of its verdicts a week"]
)
def test_a_model_that_is_swapped_is_followed_within_200_of_its_verdicts(per_second: float) -> None:
    """From −1 to +1 logits. By its own mean and deviation; its rivals are held by theirs throughout."""
    inside, rivals, alarms = [], [], []
    for seed in range(6):
        stream = Stream(seed, per_second)
        stream.truth[:, SWAPPED] += -1.0 - stream.truth[:, SWAPPED].mean()
        for _ in range(4):
            stream.judge(600)
            stream.refit()
        stream.truth[:, SWAPPED] += 2.0
        for _ in range(20):
            stream.judge(TEN_OF_ITS)
            found = stream.refit()
        errors = stream.errors(found)
        inside.append(abs(errors[0, SWAPPED]) < 2.0)
        rivals.append(np.abs(np.delete(errors, SWAPPED, axis=1)) < 1.645)
        alarms.append(stream.found)

    assert alarms == [[MODELS[SWAPPED]]] * 6
    assert sum(inside) >= 5  # two deviations hold 95 %
    assert 0.8 < np.mean(rivals) < 0.98


def test_models_that_stay_the_same_are_not_suspected() -> None:
    """Six models, 10,000 verdicts, looked at after every 250."""
    stream = Stream(21, per_second=2.0)
    for _ in range(40):
        stream.judge(250)
        stream.refit()

    assert stream.found == []


def test_a_newcomer_makes_nobody_else_look_changed() -> None:
    """One that joins late and is far better than all."""
    stream = Stream(5, per_second=2.0)
    stream.truth[:, 5] += 3.0
    stream.playing = 5
    stream.judge(1500)
    stream.refit()
    stream.playing = 6
    for _ in range(30):
        stream.judge(50)
        stream.refit()

    assert stream.found == []


def test_the_order_within_a_bucket_is_irrelevant() -> None:
    """Whichever worker counted first: rows in another order give the same posterior and the same change."""
    stream = Stream(3, per_second=1.0)
    stream.truth[:, SWAPPED] -= 1.5
    stream.judge(1500)
    stream.truth[:, SWAPPED] += 3.0
    stream.judge(300)
    rows = [Count("judge", *key, *numbers, sum(numbers)) for key, numbers in stream.counts.items()]

    one = fit_with_drift(evidence(rows, MODELS, stream.now, 720.0), {}, {})
    other = fit_with_drift(evidence(rows[::-1], MODELS, stream.now, 720.0), {}, {})

    assert [(c.model, c.bucket) for c in one.changes] == [(c.model, c.bucket) for c in other.changes] != []
    np.testing.assert_allclose(one.posterior.mean, other.posterior.mean, atol=1e-6)


def test_a_child_keeps_to_what_its_parent_was() -> None:
    """A continuation of the checkpoint before the swap does not move with the one after."""
    stream = Stream(4, per_second=1.0)
    stream.truth[:, SWAPPED] -= 1.5
    stream.judge(1500)
    stream.truth[:, SWAPPED] += 3.0
    stream.judge(300)
    rows = [Count("judge", *key, *numbers, sum(numbers)) for key, numbers in stream.counts.items()]

    fitted = fit_with_drift(evidence(rows, [*MODELS, "child"], stream.now, 720.0), {"child": MODELS[SWAPPED]}, {})
    found = without_former(fitted.posterior)
    (change,) = fitted.changes
    former = fitted.posterior.mean[0, fitted.posterior.models.index(change.former)]

    assert fitted.posterior.mean[0, fitted.posterior.models.index("child")] == pytest.approx(former, abs=1e-6)
    assert found.mean[0, found.models.index("child")] < found.mean[0, found.models.index(MODELS[SWAPPED])] - 2.0


def test_the_posterior_without_former_models_is_centred_and_says_the_same_of_the_others() -> None:
    """Gaps and their deviations stay; a name tells what it stands for."""
    stream = Stream(6, per_second=1.0)
    stream.truth[:, SWAPPED] -= 1.5
    stream.judge(1500)
    stream.truth[:, SWAPPED] += 3.0
    stream.judge(300)
    rows = [Count("judge", *key, *numbers, sum(numbers)) for key, numbers in stream.counts.items()]
    fitted = fit_with_drift(evidence(rows, MODELS, stream.now, 720.0), {}, {}).posterior

    found = without_former(fitted)

    assert found.models == MODELS
    assert len(fitted.models) == 7
    np.testing.assert_allclose(found.mean[:, :6].sum(axis=1), 0.0, atol=1e-9)
    b, c = fitted.models.index("b"), fitted.models.index("c")
    assert found.mean[0, 1] - found.mean[0, 2] == pytest.approx(fitted.mean[0, b] - fitted.mean[0, c])
    variance = found.covariance[0, 1, 1] + found.covariance[0, 2, 2] - 2 * found.covariance[0, 1, 2]
    expected = fitted.covariance[0, b, b] + fitted.covariance[0, c, c] - 2 * fitted.covariance[0, b, c]
    assert variance == pytest.approx(expected)
    former = next(name for name in fitted.models if name not in MODELS)
    assert present(former) == MODELS[SWAPPED]
    assert former_until(former) < former_until(present(former))


def test_many_suspects_of_one_cause_are_compared_at_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that becomes sharper, where no common change is named: every suspect once took a whole comparison."""
    stream = sharper(60, 30_000, np.random.default_rng(1))
    times: list[int] = []

    def counted(rows: Rows, bucket: int, theta: Array) -> Difference:
        times.append(bucket)
        return difference_at(rows, bucket, theta)

    monkeypatch.setattr(drift, "common_changes", lambda *_: [])
    monkeypatch.setattr(common_change, "difference_at", counted)
    seen = stream.seen(30_000)
    fitted = fit_with_drift(seen, {}, {})

    suspects = [each for each in changes(seen, fitted.posterior) if each.log_bayes_factor >= CERTAIN]
    assert len(suspects) > 10
    assert 1 <= len(times) <= 6
    assert len(set(times)) == len(times)


def test_a_change_of_one_model_has_the_same_evidence_alone_as_among_few() -> None:
    """In closed form, and as a Gaussian over its skills."""
    rng = np.random.default_rng(2)
    precision = np.zeros((3, 4, 4))
    precision[:, range(4), range(4)] = rng.gamma(2.0, 5.0, (3, 4))
    difference = Difference(rng.normal(0, 6, (3, 4)), precision, np.zeros((3, 4)))

    alone = move_factors(difference.shift, np.diagonal(precision, axis1=1, axis2=2), axis=0)

    np.testing.assert_allclose(alone, [difference._moved([model]) for model in range(4)])
