"""The shape of a worker: what is claimed is done once, and what fails is given up to the sweeper, never dropped."""

from __future__ import annotations

import pytest

from karma.messages import Batch, Header, MatchBatch, MatchItem, encode
from karma.metrics import BATCHES
from karma.stage import Stage

MESSAGE = encode(MatchBatch(header=Header(stream="s", batch="b", token="t", part=2), items=(MatchItem(1, 1),)))


class FakeClaims:
    """Remembers what was asked of it."""

    def __init__(self, free: bool = True, broken: bool = False) -> None:
        self.free, self.broken = free, broken
        self.said: list[tuple[str, str]] = []

    def take(self, name: str) -> bool:
        self.said.append(("take", name))
        return self.free

    def release(self, name: str) -> None:
        self.said.append(("release", name))

    def abandon(self, name: str) -> None:
        if self.broken:
            raise ConnectionError
        self.said.append(("abandon", name))


def run(claims: FakeClaims, text: str = MESSAGE, error: Exception | None = None) -> list[Batch]:
    worked: list[Batch] = []

    def work(batch: Batch) -> None:
        worked.append(batch)
        if error:
            raise error

    Stage("match", claims, work).run(text)  # type: ignore[arg-type]
    return worked


def count(result: str) -> float:
    return BATCHES.labels("match", result)._value.get()


def test_a_batch_is_claimed_done_and_released_in_this_order() -> None:
    claims = FakeClaims()
    assert len(run(claims)) == 1
    assert claims.said == [("take", "match:b:2"), ("release", "match:b:2")]


def test_a_batch_that_another_has_claimed_is_left_alone() -> None:
    claims, before = FakeClaims(free=False), count("duplicate")
    assert run(claims) == []
    assert claims.said == [("take", "match:b:2")]
    assert count("duplicate") == before + 1


def test_a_batch_that_fails_is_given_up_and_not_released() -> None:
    claims, before = FakeClaims(), count("failed")
    run(claims, error=RuntimeError("boom"))
    assert claims.said == [("take", "match:b:2"), ("abandon", "match:b:2")]
    assert count("failed") == before + 1


def test_a_failure_while_redis_is_away_does_not_end_the_worker() -> None:
    run(FakeClaims(broken=True), error=RuntimeError("boom"))


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"message": "match.v99"}'])
def test_a_message_that_cannot_be_read_is_counted_and_claims_nothing(text: str) -> None:
    claims, before = FakeClaims(), count("unreadable")
    assert run(claims, text) == []
    assert claims.said == []
    assert count("unreadable") == before + 1
