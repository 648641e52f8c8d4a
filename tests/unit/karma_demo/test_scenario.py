"""The demo has the default goal, a judge that costs calls, and compares labels by their source."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update

from karma.config.pool import Pool
from karma.config.settings import StreamSettings
from karma.plugins.registry import judge_kind
from karma.ranking.snapshot import Snapshot
from karma.store.schema import pairs, resolutions
from karma_demo import scenario
from tests.support.memory import Flow
from tests.support.stores import memory


def test_the_demo_has_the_goal_of_new_streams_and_says_so() -> None:
    tables = tomllib.loads(scenario.pool_file())
    pool = Pool.from_tables(tables, Path("pool.toml"))
    named = pool.stream(scenario.STREAM)

    assert tables["stream"] == {"goal": StreamSettings().goal}
    assert named.has_judge_budget
    assert not any(judge_kind(judge.kind).free for judge in pool.judges.values())


@pytest.mark.filterwarnings("ignore:invalid value")  # without ratings there is no correlation
def test_labels_are_checked_by_their_source_and_only_where_one_response_is_right() -> None:
    """Of four pairs of a right and a wrong response one is predicted, and wrong; a fifth pair has no right one."""
    store = memory()
    tasks = scenario.demo_tasks(5, 0)
    flow = Flow(store)
    right = {"a": "Answer: RIGHT", "b": "Answer: no"}
    flow.accept(
        *(
            {"id": task.id, "prompt": task.prompt, "responses": right if n else {"a": "Answer: x", "b": "Answer: no"}}
            for n, task in enumerate(tasks)
        ),
        stream=scenario.STREAM,
    )
    flow.finish()
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        pair = connection.execute(select(resolutions).order_by(resolutions.c.pair.desc())).first()
        assert pair is not None
        wrong = {"chosen": pair.rejected, "rejected": pair.chosen, "label_source": "predicted", "probability": 0.1}
        connection.execute(update(resolutions).where(resolutions.c.pair == pair.pair).values(wrong))
        connection.execute(
            update(pairs).where(pairs.c.id == pair.pair).values(judged=0, reasons=json.dumps({"sure": True}))
        )
    known = [replace(task, reference="RIGHT") for task in tasks]

    found = scenario.check(store, Snapshot.empty(), known)

    assert (found.judged, found.predicted) == (scenario.Labels(3, 3), scenario.Labels(1, 0))
    assert (found.judged + found.predicted).accuracy == 0.75
    assert scenario.Labels().accuracy is None
