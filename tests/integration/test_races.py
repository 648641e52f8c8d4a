"""What comes at the worst moment: a result between the sweeper's read and its write, a commit whose reply is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from karma.errors import StoreOutageError
from karma.messages import Batch, GenerateBatch
from karma.messages.signing import UNSIGNED
from karma.store import Store
from karma_gateway.sweeper import Loss, Sweeper
from tests.support import verifier
from tests.support.memory import Flow, make_pool
from tests.support.proxy import proxied
from tests.support.stores import emptied

#: How often; the long counts are in docs/reliability.md.
RACES = int(os.environ.get("KARMA_TEST_RACES", "40"))
REPLIES = int(os.environ.get("KARMA_TEST_REPLIES", "25"))


def url_of(store: Store) -> str:
    url = store.engine.url.render_as_string(hide_password=False)
    return url.replace("postgresql+psycopg://", "postgresql://")


def send_what_is_due(flow: Flow) -> None:
    """What waits for its next attempt is sent now."""
    with flow.store.reading() as transaction:
        flow.send([row.id for row in transaction.work.carried() if row.id not in flow.sent])


def test_a_result_that_comes_between_the_sweepers_read_and_its_write_is_neither_lost_nor_doubled(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    sweeper = Sweeper(store, flow.pool, flow, SimpleNamespace(keyring=UNSIGNED), None, store.clock)  # type: ignore[arg-type]
    first_won = 0
    for n in range(RACES):
        flow.accept({"id": f"p{n}", "prompt": f"Say {n}."})
        flow.dispatcher.admit()
        asked = [batch for batch in flow.messages() if isinstance(batch, GenerateBatch)]
        flow.handle(flow.answer(asked[1]))
        with store.reading() as transaction:
            (row,) = (row for row in transaction.work.carried() if row.id == asked[0].header.batch)
        barrier = threading.Barrier(2)
        won: list[int] = []

        def sweep(row: object = row, barrier: threading.Barrier = barrier, won: list[int] = won) -> None:
            barrier.wait(10)
            won.append(sweeper._resend([(row, Loss("silent", "frozen"))]))  # type: ignore[arg-type]

        thread = threading.Thread(target=sweep)
        thread.start()
        barrier.wait(10)
        flow.handle(flow.answer(asked[0], text=f"the first answer to {n}"))
        thread.join(10)
        first_won += won[0]
        flow.handle(flow.answer(asked[0], text="late, and too late"))
        send_what_is_due(flow)
        flow.finish()
    found = verifier.assert_exact(url_of(store), RACES)
    assert found["responses"] == 2 * RACES
    print(f"{RACES} races, of which the sweeper won {first_won}")


def test_a_prompt_that_ended_between_the_sweepers_read_and_its_write_stays_as_it_is(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    sweeper = Sweeper(store, flow.pool, flow, SimpleNamespace(keyring=UNSIGNED), None, store.clock)  # type: ignore[arg-type]
    for n in range(RACES):
        flow.accept({"id": f"p{n}", "prompt": f"Say {n}."})
        flow.dispatcher.admit()
        with store.reading() as transaction:
            rows = transaction.work.carried()
        flow.finish()
        before = verifier.read(url_of(store))
        assert sweeper._resend([(row, Loss("silent", "frozen")) for row in rows]) == 0
        assert verifier.read(url_of(store)) == before
    verifier.assert_exact(url_of(store), RACES)


def test_a_commit_whose_reply_is_lost_happens_once(postgresql_url: str) -> None:
    """Whoever asked is told that the store cannot be used, asks again, and nothing is there twice."""
    with proxied(urlsplit(postgresql_url).port or 5432) as proxy:
        through = postgresql_url.replace(f":{urlsplit(postgresql_url).port}/", f":{proxy.port}/")
        store = emptied(through)
        flow = Flow(store, make_pool("ab"))
        lost = 0

        def losing(action: Callable[[], object]) -> None:
            """Do it with the reply to its commit lost, and then again, as whoever asked does."""
            nonlocal lost
            before, proxy.losing = proxy.lost, b"COMMIT"
            with pytest.raises(StoreOutageError):
                action()
            proxy.losing = None
            lost += proxy.lost - before
            action()

        def handle(batch: Batch) -> None:
            losing(lambda: flow.handle(batch))

        for n in range(REPLIES // 5 + 1):
            losing(lambda n=n: flow.accept({"id": f"p{n}", "prompt": f"Say {n}."}))
            losing(flow.dispatcher.admit)
            send_what_is_due(flow)
            for batch in flow.messages():
                if isinstance(batch, GenerateBatch):
                    handle(flow.answer(batch))
            send_what_is_due(flow)
            for batch in flow.messages():
                handle(batch)  # match
            send_what_is_due(flow)
            for batch in flow.messages():
                handle(flow.judge(batch))  # type: ignore[arg-type]
        store.close()
        verifier.assert_exact(postgresql_url, REPLIES // 5 + 1)
        assert lost >= REPLIES
        print(f"{lost} replies lost")
