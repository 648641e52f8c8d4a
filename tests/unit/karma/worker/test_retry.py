"""What is in hand is held while a server is away, until the process must end."""

from __future__ import annotations

import time

import pytest

from karma import lease
from karma.errors import OutageError, ReleasedError, SchemaError, StoreOutageError
from karma.worker import retry
from karma.worker.retry import Shutdown, retry_on_outage


class Server:
    """Away for so many calls."""

    def __init__(self, away: int) -> None:
        self.away = away

    def __call__(self) -> str:
        if self.away:
            self.away -= 1
            raise StoreOutageError("the store is unavailable")
        return "done"


def test_an_outage_is_waited_out() -> None:
    assert retry_on_outage(Server(2), "record", Shutdown(10)) == "done"


def test_what_is_in_hand_is_still_brought_while_the_process_has_time_to_stop() -> None:
    shutdown = Shutdown(limit_s=10)
    shutdown.request()
    assert retry_on_outage(Server(2), "record", shutdown) == "done"


def test_what_cannot_be_brought_in_time_is_handed_back() -> None:
    shutdown = Shutdown(limit_s=0.2)
    shutdown.request()
    started = time.monotonic()
    with pytest.raises(ReleasedError, match="record: the store is unavailable"):
        retry_on_outage(Server(1000), "record", shutdown)
    assert time.monotonic() - started < 5


def test_each_kind_of_error_is_logged_once_and_so_is_the_recovery(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "_FIRST_WAIT_S", 0.01)
    errors: list[OutageError] = [
        StoreOutageError("gone"),
        SchemaError("old"),
        SchemaError("old"),
        StoreOutageError("gone"),
    ]

    def fail() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert retry_on_outage(fail, "record", Shutdown(10)) == "done"
    logged = [record.getMessage() for record in caplog.records]
    assert logged[:2] == [
        "record: gone; retrying until it works",
        "record: old; retrying until it works",
    ]
    assert [line.partition(" after ")[0] for line in logged[2:]] == ["record: recovered"]


def test_a_process_that_is_to_stop_does_not_wait_for_its_schema() -> None:
    def refused() -> None:
        raise SchemaError("the store is at revision 0006")

    shutdown = Shutdown(limit_s=3600)
    shutdown.request(78)
    shutdown.request()
    with pytest.raises(ReleasedError, match="record: the store is at revision 0006"):
        retry_on_outage(refused, "record", shutdown)
    assert shutdown.exit_code == 78


def test_another_error_is_not_waited_for() -> None:
    def broken() -> None:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        retry_on_outage(broken, "record", Shutdown(10))


def test_under_a_lease_that_cannot_be_known_one_waits_and_under_one_that_ended_one_hands_back() -> None:
    answers = iter(["wait", "wait", "go", "stop"])
    with lease.held(lambda: next(answers)):  # type: ignore[arg-type, return-value]
        lease.require()
        with pytest.raises(ReleasedError):
            lease.require()
    lease.require()  # outside of any batch everything may be begun
