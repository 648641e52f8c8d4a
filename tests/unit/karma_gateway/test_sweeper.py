"""The sweeper sends again what was lost, and only that."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from karma.messages.signing import UNSIGNED
from karma.queue.backlog import priority_list
from karma.queue.claims import RELEASED
from karma.queue.claims_view import ClaimsView
from karma.store.records import BatchRow
from karma_gateway.sweeper import Loss, Sweeper
from tests.support.memory import make_pool

NOW = 1000.0
EPOCH = "epoch"


def row(published_at: float | None = NOW - 100, epoch: str | None = EPOCH, stage: str = "generate") -> BatchRow:
    return BatchRow("b", stage, "a", "s", 0, NOW - 100, 0.0, published_at, epoch)  # type: ignore[arg-type]


def view(**claims: float) -> ClaimsView:
    """Claims by stage → seconds since the last sign of life."""
    return ClaimsView(NOW, 10.0, {"b": {f"{stage}:b:0": NOW - age for stage, age in claims.items()}})


@pytest.fixture
def sweeper() -> Sweeper:
    publisher = SimpleNamespace(keyring=UNSIGNED)
    made = Sweeper(None, make_pool(), None, publisher, None, lambda: NOW)  # type: ignore[arg-type]
    made._epoch, made._epoch_seen_at = EPOCH, 0.0
    made._heads = {priority_list("generate.a", 0): None, priority_list("score", 0): None}
    return made


def reason(sweeper: Sweeper, one: BatchRow, seen: ClaimsView | None = None) -> str | None:
    loss = sweeper.loss_of(one, seen or view(), NOW)
    return loss.reason if loss else None


def test_what_was_not_sent_is_due_after_a_grace_or_at_its_own_moment(sweeper: Sweeper) -> None:
    assert sweeper.is_due(row(published_at=None), NOW)
    assert not sweeper.is_due(row(published_at=None)._replace(created_at=NOW - 4), NOW)
    assert not sweeper.is_due(row(published_at=None)._replace(due_at=NOW + 1), NOW)
    assert sweeper.is_due(row(published_at=None)._replace(created_at=NOW - 1, due_at=NOW - 0.5), NOW)


def test_a_batch_that_waits_behind_an_older_head_is_not_lost(sweeper: Sweeper) -> None:
    sweeper._heads[priority_list("generate.a", 0)] = NOW - 200
    assert reason(sweeper, row()) is None


def test_a_batch_older_than_the_head_of_its_queue_is_lost(sweeper: Sweeper) -> None:
    sweeper._heads[priority_list("generate.a", 0)] = NOW - 50
    assert reason(sweeper, row()) == "vanished"


def test_a_batch_that_is_in_no_queue_is_lost_after_a_grace(sweeper: Sweeper) -> None:
    assert reason(sweeper, row(published_at=NOW - 4)) is None
    assert reason(sweeper, row(published_at=NOW - 6)) == "vanished"


def test_a_batch_in_hand_is_not_lost_however_old(sweeper: Sweeper) -> None:
    assert reason(sweeper, row(epoch="another"), view(generate=3)) is None


def test_a_batch_whose_worker_fell_silent_is_lost_with_what_ended_it(sweeper: Sweeper) -> None:
    assert sweeper.loss_of(row(), view(generate=11), NOW) == Loss("silent", "the worker's heartbeat expired")
    failed = replace(view(generate=700), fates={"generate:b:0": ("", "generate failed: ValueError")})
    assert sweeper.loss_of(row(), failed, NOW) == Loss("silent", "generate failed: ValueError")


def test_a_batch_that_was_handed_back_counts_no_attempt(sweeper: Sweeper) -> None:
    handed_back = replace(view(generate=700), fates={"generate:b:0": ("", RELEASED)})
    assert sweeper.loss_of(row(), handed_back, NOW) == Loss("handed_back")


def test_what_a_silent_worker_brought_is_recorded_before_the_rest_is_sent_again(sweeper: Sweeper) -> None:
    sweeper._heads[priority_list("score", 0)] = NOW - 12
    assert reason(sweeper, row(), view(generate=11)) is None
    sweeper._heads[priority_list("score", 0)] = NOW - 10
    assert reason(sweeper, row(), view(generate=11)) == "silent"


def test_results_in_the_hand_of_a_silent_worker_are_not_asked_for_again(sweeper: Sweeper) -> None:
    assert reason(sweeper, row(), view(score=100)) is None


def test_a_batch_of_another_life_of_redis_is_lost_once_workers_had_time_to_renew_their_claims(sweeper: Sweeper) -> None:
    sweeper._epoch_seen_at = NOW - 1
    assert reason(sweeper, row(epoch="another")) is None
    sweeper._epoch_seen_at = NOW - 10
    assert reason(sweeper, row(epoch="another")) == "redis_lost"


def test_results_that_wait_in_the_next_queue_are_not_lost(sweeper: Sweeper) -> None:
    sweeper._heads[priority_list("score", 0)] = NOW - 99
    sweeper._ends["generate:b:0"] = NOW - 90
    assert reason(sweeper, row()) is None
    assert reason(sweeper, row(epoch="another")) is None


def test_results_that_are_in_no_queue_are_lost(sweeper: Sweeper) -> None:
    sweeper._ends["generate:b:0"] = NOW - 90
    assert reason(sweeper, row()) == "vanished"
