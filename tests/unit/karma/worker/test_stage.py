"""The shape of a worker: what is claimed is done once, and what fails is given up to the sweeper, never dropped."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from karma.errors import BrokerOutageError, ReleasedError
from karma.messages import Answer, Batch, Header, MatchBatch, MatchItem, ScoreBatch
from karma.messages.signing import UNSIGNED
from karma.messages.wire import encode
from karma.queue.claims import RELEASED
from karma.telemetry.metrics import BATCHES
from karma.worker.admission import Admitted
from karma.worker.exclusive import ExclusiveExecution
from karma.worker.retry import Shutdown
from karma.worker.stage import Stage

HEADER = Header(stream="s", batch="b", token="t", part=2, epoch="e")
MESSAGE = encode(MatchBatch(header=HEADER, items=(MatchItem(1, 1),)))
RESULTS = encode(ScoreBatch(header=HEADER, items=(Answer(item=1, prompt=1, model="m", sample=0, text="Hi"),)))


class FakeRedis:
    """Takes what is kept of refused messages."""

    def pipeline(self, transaction: bool) -> FakeRedis:
        return self

    def lpush(self, *_arguments: object) -> None:
        pass

    ltrim = execute = lpush


class FakeClaims:
    """Remembers what was asked of it."""

    def __init__(self, acquired: str = "claimed", outages: int = 0) -> None:
        self.acquired, self.outages = acquired, outages
        self.said: list[tuple[str, str]] = []

    def acquire(self, name: str, epoch: str, kept: str, _channel: str) -> str:
        if self.outages:
            self.outages -= 1
            raise BrokerOutageError("Redis is unavailable")
        self.said.append(("acquire", name))
        self.epoch, self.kept = epoch, kept
        return self.acquired

    def state(self, _name: str) -> str:
        return "go"

    def complete(self, name: str, made_room: bool) -> None:
        self.said.append(("complete and wake" if made_room else "complete", name))

    def release(self, name: str, why: str) -> None:
        self.said.append((why, name))


def run(claims: FakeClaims, text: str = MESSAGE, error: Exception | None = None, name: str = "match") -> list[Batch]:
    worked: list[Batch] = []

    def work(admitted: Admitted) -> bool:
        worked.append(admitted.batch)
        if error:
            raise error
        return True

    connections = SimpleNamespace(
        claims=claims,
        shutdown=Shutdown(10),
        clock=lambda: 1.0,
        exclusive=ExclusiveExecution(),
        publisher=SimpleNamespace(keyring=UNSIGNED),
        redis=FakeRedis(),
    )
    Stage(name, connections, work).run(text)  # type: ignore[arg-type]
    return worked


def count(result: str) -> float:
    return BATCHES.labels("match", result)._value.get()


def test_a_batch_is_claimed_done_and_released_in_this_order() -> None:
    claims = FakeClaims()
    assert len(run(claims)) == 1
    assert claims.said == [("acquire", "match:b:2"), ("complete and wake", "match:b:2")]


@pytest.mark.parametrize(("acquired", "counted"), [("held", "duplicate"), ("done", "duplicate"), ("void", "void")])
def test_a_batch_that_is_anothers_or_of_another_life_of_redis_is_left_alone(acquired: str, counted: str) -> None:
    claims, before = FakeClaims(acquired), count(counted)
    assert run(claims) == []
    assert claims.said == [("acquire", "match:b:2")]
    assert count(counted) == before + 1


def test_a_batch_that_fails_is_let_go_with_its_error_and_not_released() -> None:
    claims, before = FakeClaims(), count("failed")
    run(claims, error=RuntimeError("a prompt's text"))
    assert claims.said == [("acquire", "match:b:2"), ("match failed: RuntimeError", "match:b:2")]
    assert count("failed") == before + 1


def test_a_batch_that_is_handed_back_is_no_failure() -> None:
    claims, before = FakeClaims(), count("handed_back")
    run(claims, error=ReleasedError("stopping"))
    assert claims.said == [("acquire", "match:b:2"), (RELEASED, "match:b:2")]
    assert count("handed_back") == before + 1


def test_a_message_in_hand_is_held_while_redis_is_away() -> None:
    claims = FakeClaims(outages=2)
    assert len(run(claims)) == 1


def test_only_results_are_kept_and_only_questions_belong_to_a_life_of_redis() -> None:
    claims = FakeClaims()
    run(claims, RESULTS, name="score")
    assert (claims.epoch, claims.kept) == ("", RESULTS)
    run(claims, name="match")
    assert (claims.epoch, claims.kept) == ("e", "")


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"message": "match.v99"}', RESULTS])
def test_a_message_that_cannot_be_read_or_is_of_another_stage_is_counted_and_claims_nothing(text: str) -> None:
    claims, before = FakeClaims(), count("refused")
    assert run(claims, text) == []
    assert claims.said == []
    assert count("refused") == before + 1
