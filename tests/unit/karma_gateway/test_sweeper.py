"""The sweeper sends again what was lost, and only that."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from karma.store.records import BatchRow
from karma_gateway.sweeper import Sweeper
from tests.support.memory import make_pool

NOW = 1000.0
EPOCH = "epoch"


@dataclass
class View:
    """What Redis says about claims, as a test wants it."""

    living: set[str] = field(default_factory=set)
    fallen_silent: dict[str, str] = field(default_factory=dict)
    ends: dict[tuple[str, str], float] = field(default_factory=dict)

    def claimed(self, batch: str) -> bool:
        return batch in self.living

    def silent(self, batch: str) -> str | None:
        return self.fallen_silent.get(batch)

    def ended(self, batch: str, stage: str) -> float | None:
        return self.ends.get((batch, stage))


def row(published_at: float | None = NOW - 100, epoch: str | None = EPOCH, stage: str = "generate") -> BatchRow:
    return BatchRow("b", "t", stage, "a", "s", 0, NOW - 100, published_at, epoch)  # type: ignore[arg-type]


@pytest.fixture
def sweeper() -> Sweeper:
    made = Sweeper(None, make_pool(), None, None, None)  # type: ignore[arg-type]
    made._epoch, made._epoch_seen_at = EPOCH, 0.0
    made._heads = {("generate.a", 0): None, ("score", 0): None}
    return made


def reason(sweeper: Sweeper, one: BatchRow, view: View) -> str | None:
    loss = sweeper.loss_of(one, view, NOW)  # type: ignore[arg-type]
    return loss.reason if loss else None


def test_a_batch_that_was_never_published_is_lost(sweeper: Sweeper) -> None:
    assert reason(sweeper, row(published_at=None), View()) == "unpublished"


def test_a_batch_that_waits_behind_an_older_head_is_not_lost(sweeper: Sweeper) -> None:
    sweeper._heads["generate.a", 0] = NOW - 200
    assert reason(sweeper, row(), View()) is None


def test_a_batch_older_than_the_head_of_its_queue_is_lost(sweeper: Sweeper) -> None:
    sweeper._heads["generate.a", 0] = NOW - 50
    assert reason(sweeper, row(), View()) == "vanished"


def test_a_batch_that_is_in_no_queue_is_lost_after_a_grace(sweeper: Sweeper) -> None:
    assert reason(sweeper, row(published_at=NOW - 4), View()) is None
    assert reason(sweeper, row(published_at=NOW - 6), View()) == "vanished"


def test_a_batch_in_hand_is_not_lost_however_old(sweeper: Sweeper) -> None:
    assert reason(sweeper, row(epoch="another"), View(living={"b"})) is None


def test_a_batch_whose_worker_fell_silent_is_lost_and_counts_as_an_attempt(sweeper: Sweeper) -> None:
    loss = sweeper.loss_of(row(), View(fallen_silent={"b": "generate:b:0"}), NOW)  # type: ignore[arg-type]
    assert loss is not None
    assert (loss.reason, loss.attempted, loss.claim) == ("silent", True, "generate:b:0")


def test_a_batch_of_another_life_of_redis_is_lost_once_workers_had_time_to_renew_their_claims(sweeper: Sweeper) -> None:
    sweeper._epoch_seen_at = NOW - 1
    assert reason(sweeper, row(epoch="another"), View()) is None
    sweeper._epoch_seen_at = NOW - 10
    assert reason(sweeper, row(epoch="another"), View()) == "redis_lost"


def test_results_that_wait_in_the_next_queue_are_not_lost(sweeper: Sweeper) -> None:
    sweeper._heads["score", 0] = NOW - 99
    assert reason(sweeper, row(), View(ends={("b", "generate"): NOW - 90})) is None


def test_results_that_are_in_no_queue_are_lost(sweeper: Sweeper) -> None:
    assert reason(sweeper, row(), View(ends={("b", "generate"): NOW - 90})) == "vanished"
