"""`karma enqueue --until`: the admission of a stream stops at so many preferences, or at so many prompts."""

from __future__ import annotations

import pytest

from karma.store.streams import StreamEnd, set_stream_end, stream_ends
from karma.store.until import Progress, progress_of
from karma_gateway.admission import until
from tests.support.memory import Flow, make_pool
from tests.support.stores import memory


@pytest.fixture(autouse=True)
def counted_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(until, "_EVERY_S", 0.0)
    monkeypatch.setattr(until, "_SHARE", 1e9)


def flow(end: StreamEnd | None, prompts: int = 60) -> Flow:
    found = Flow(memory(), make_pool("ab"))
    found.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(prompts)))
    with found.store.transaction() as transaction:
        set_stream_end(transaction.ledger.connection, "default", end)
    return found


def progress(found: Flow) -> Progress:
    with found.store.reading() as transaction:
        return progress_of(transaction.ledger.connection, "default")


def test_it_stops_there_and_the_rest_stays_accepted() -> None:
    found = flow(StreamEnd(20, None))
    found.finish()
    assert progress(found) == Progress(preferences=20, accepted=40, in_flight=0, ended=20)
    assert progress(found).is_reached(StreamEnd(20, None))
    with found.store.transaction() as transaction:
        set_stream_end(transaction.ledger.connection, "default", None)
        assert stream_ends(transaction.ledger.connection) == {}
    found.finish()
    assert progress(found).ended == 60


def test_it_survives_a_restart_of_the_gateway() -> None:
    found = flow(StreamEnd(20, None))
    for _start in range(3):
        Flow(found.store, found.pool).finish()
    assert progress(found).preferences == 20


def test_no_more_prompts_than_the_cap_are_admitted() -> None:
    found = flow(StreamEnd(20, 12))
    found.finish()
    assert progress(found) == Progress(preferences=12, accepted=48, in_flight=0, ended=12)
    assert progress(found).is_reached(StreamEnd(20, 12))
    assert not progress(found).is_reached(StreamEnd(20, 13))


def test_a_file_that_is_too_short_ends_too() -> None:
    found = flow(StreamEnd(20, None), prompts=10)
    found.finish()
    assert progress(found).ended == 10
    assert progress(found).is_reached(StreamEnd(20, None))
