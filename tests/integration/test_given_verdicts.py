"""Verdicts that came with the prompts, recorded as those of people on the pairs that were formed since."""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy import select

from karma.ranking.verdict_sources import HUMAN
from karma.store import Store
from karma.store.schema import verdicts
from tests.support.command import call
from tests.support.memory import Flow, make_pool


def sides(first: float | None, second: float | None) -> list[dict]:
    return [{"model": "x", "text": "one", "rating": first}, {"model": "y", "text": "two", "rating": second}]


def test_given_verdicts_are_recorded_once_for_each_pair_that_has_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/karma.db"
    store = Store(url)
    store.create()
    surroundings = {"KARMA_HOME": str(tmp_path), "KARMA_DATABASE_URL": url, "PATH": "/usr/bin:/bin"}
    rated = [(2.0, 1.0), (1.0, 2.0), (3.0, 3.0), (None, 1.0)]
    lines = [json.dumps({"id": n, "prompt": f"p{n}", "responses": sides(*each)}) + "\n" for n, each in enumerate(rated)]
    none = call("verdicts", "default", "--given", environment=surroundings)
    assert "has no prompt" in none.stderr or none.returncode == 2
    accepted = call("enqueue", "-", "--verdicts-as", "anna", environment=surroundings, text="".join(lines))
    assert accepted.returncode == 0, accepted.stderr
    early = call("verdicts", "default", "--given", environment=surroundings)
    assert "no pair of default has a verdict that came with its prompt" in early.stderr
    Flow(store, make_pool("ab")).finish()
    for said in ("3 added, 0 already present, 0 refused", "0 added, 3 already present, 0 refused"):
        assert said in call("verdicts", "default", "--given", environment=surroundings).stderr
    with store.reading() as transaction:
        query = select(verdicts.c.judge, verdicts.c.probability).where(verdicts.c.template_hash == HUMAN)
        found = transaction.ledger.connection.execute(query.order_by(verdicts.c.pair)).all()
    store.close()
    assert [tuple(row) for row in found] == [("anna", 1.0), ("anna", 0.0), ("anna", 0.5)]


def test_a_file_and_the_given_verdicts_exclude_each_other(tmp_path: Path) -> None:
    surroundings = {"KARMA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    for arguments in (("verdicts", "default"), ("verdicts", "default", "f.jsonl", "--given")):
        done = call(*arguments, environment=surroundings)
        assert (done.returncode, "name a file of verdicts, or --given" in done.stderr) == (2, True)
