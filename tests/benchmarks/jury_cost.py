"""What the weights of a jury cost a refit: reading the verdicts from a store, and estimating."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from karma.ranking.jury import Jury
from karma.store import Store
from karma.store.schema import pairs, prompts, responses, streams, verdicts
from karma_scoring.fit.judges.jury_weights import JuryWeights
from tests.benchmarks.finding import Finding
from tests.benchmarks.simulated_jury import Member, draw
from tests.support.memory import ENDPOINT, make_pool

_MEMBERS = (Member("a", 0.85), Member("b", 0.75), Member("c", 0.65), Member("d", 0.65, copies="c"))
_AT_ONCE = 20_000


def cost(number: int = 100_000) -> list[Finding]:
    """Seconds, wall clock and CPU, of the weights in a store with so many judged pairs, four judges, both orders."""
    judges = {name.name: {"kind": "openai", "model": {**ENDPOINT, "model": name.name}} for name in _MEMBERS}
    pool = make_pool("ab", judges=judges)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder) / 'karma.db'}")
        try:
            store.create()
            _fill(store, number)
            wall, cpu = time.perf_counter(), time.process_time()
            with store.reading() as transaction:
                jury = JuryWeights(pool).fit(transaction)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        finally:
            store.close()
    assert jury != Jury()
    return [
        Finding("cost", f"{number:,} judged pairs: seconds of a refit", wall, 0.0, 0.0),
        Finding("cost", f"{number:,} judged pairs: CPU seconds", cpu, 0.0, 0.0),
    ]


def _fill(store: Store, number: int) -> None:
    """A prompt, two responses, a pair and all verdicts, so many times."""
    drawn = draw(_MEMBERS, number, 0)
    ids = np.arange(1, number + 1).tolist()
    given = zip(
        drawn.pair.tolist(), drawn.judge.tolist(), drawn.shown.tolist(), drawn.probability.tolist(), strict=True
    )
    prompt = {"stream": "s", "content_hash": "", "messages": "[]", "priority": 0, "state": "done", "awaited": 0}
    pair = {"policy": "random", "reasons": "{}", "judged_probability": 1.0, "snapshot": 0, "awaited": 0}
    rows = {
        prompts: [{"id": n, "prompt_id": str(n), "accepted_at": 0.0, **prompt} for n in ids],
        responses: [
            {"id": 2 * n - first, "prompt": n, "model": "ab"[1 - first], "sample": 0, "text": "x", "created_at": 0.0}
            for n in ids
            for first in (1, 0)
        ],
        pairs: [
            {"id": n, "prompt": n, "response_a": 2 * n - 1, "response_b": 2 * n, "created_at": 0.0, **pair} for n in ids
        ],
        # in the order in which a stream has them: pair by pair
        verdicts: sorted(
            (
                {"pair": n + 1, "judge": drawn.names[judge], "shown": shown, "probability": p}
                | {"template_hash": "t", "created_at": 0.0}
                for n, judge, shown, p in given
            ),
            key=lambda row: row["pair"],
        ),
    }
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        connection.execute(insert(streams), [{"name": "s", "created_at": 0.0}])
        for table, values in rows.items():
            for start in range(0, len(values), _AT_ONCE):
                connection.execute(insert(table), values[start : start + _AT_ONCE])
