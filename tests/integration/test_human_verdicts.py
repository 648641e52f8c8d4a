"""Verdicts of people come from a file, once each, teach competencies, and say how often judges are right."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import select

from karma.config.pool import Pool
from karma.errors import SettingsError
from karma.ranking.verdict_sources import HUMAN
from karma.store import Store
from karma.store.export_filter import ExportFilter
from karma.store.schema import pairs, prompts, resolutions, responses, verdicts
from karma_gateway.exports import rows as rows_of
from karma_monitor.explain import explain
from karma_monitor.figures.judges.people import people_figures
from karma_monitor.live_status import LiveStatus
from karma_monitor.page.quality import QualityView
from karma_monitor.status import status
from karma_scoring.fit.refit import Refitter
from karma_scoring.human_verdicts import Recorded, record
from tests.support.command import call
from tests.support.memory import ENDPOINT, Flow, make_pool
from tests.support.stores import memory


@pytest.fixture
def flow() -> Flow:
    flow = Flow(memory(), make_pool("ab"))
    flow.accept(*({"prompt": f"p {n}", "id": f"p{n}", "skill": "math" if n % 2 else "prose"} for n in range(40)))
    flow.finish()
    return flow


def said(store: Store, *lines: dict[str, Any] | str, **options: Any) -> Recorded:
    content = [(n, (line if isinstance(line, str) else json.dumps(line)).encode()) for n, line in enumerate(lines, 1)]
    with store.transaction() as transaction:
        return record(content, "default", transaction, **options)


def rows(store: Store) -> list[Any]:
    with store.reading() as transaction:
        query = select(verdicts).where(verdicts.c.template_hash == HUMAN).order_by(verdicts.c.id)
        return list(transaction.ledger.connection.execute(query))


def numbers(store: Store) -> list[int]:
    with store.reading() as transaction:
        return list(transaction.ledger.connection.execute(select(pairs.c.id).order_by(pairs.c.id)).scalars())


def better(store: Store, pair: int) -> str:
    """The side that the judge prefers."""
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        query = select(resolutions.c.probability).where(resolutions.c.pair == pair)
        return "first" if connection.execute(query).scalar_one() > 0.5 else "second"


def test_a_pair_is_named_by_its_number_its_id_or_its_prompt_and_models(flow: Flow) -> None:
    one, two, three, *_ = numbers(flow.store)
    with flow.store.reading() as transaction:
        query = select(prompts.c.prompt_id).join(pairs, pairs.c.prompt == prompts.c.id).where(pairs.c.id == three)
        prompt_id = transaction.ledger.connection.execute(query).scalar_one()
    found = said(
        flow.store,
        {"pair": one, "verdict": "first", "judge": "anna"},
        {"pair": f"default/x/{two}", "verdict": "tie", "judge": "anna", "note": "unknown fields are ignored"},
        {"prompt_id": prompt_id, "first": "b", "second": "a", "verdict": "first"},
        judge="ben",
    )
    assert (found.added, found.present, found.refused) == (3, 0, [])
    with flow.store.reading() as transaction:
        query = select(responses.c.model).join(pairs, pairs.c.response_a == responses.c.id).where(pairs.c.id == three)
        b_is_a = transaction.ledger.connection.execute(query).scalar_one() == "b"
    assert [(row.pair, row.judge, row.shown, row.probability) for row in rows(flow.store)] == [
        (one, "anna", 0, 1.0),
        (two, "anna", 0, 0.5),
        (three, "ben", 0 if b_is_a else 1, 1.0),
    ]


def test_the_same_line_twice_adds_nothing_and_another_word_is_refused(flow: Flow) -> None:
    pair = numbers(flow.store)[0]
    line = {"pair": pair, "verdict": "first", "judge": "anna"}
    assert said(flow.store, line, line).added == 1
    with flow.store.reading() as transaction:
        before = transaction.preferences.counts()
    again = said(flow.store, line, {**line, "verdict": "second"})
    assert (again.added, again.present) == (0, 1)
    assert again.refused == [(2, f"anna said otherwise of pair {pair} before, and the first word stands")]
    with flow.store.reading() as transaction:
        assert transaction.preferences.counts() == before


BAD = {
    "{": "no JSON",
    "[1]": "expected an object",
    '{"pair": 1, "verdict": "left", "judge": "a"}': 'verdict is "left", expected "first", "second" or "tie"',
    '{"pair": 1, "winner": "a"}': 'expected "first", "second" or "tie" in it; its fields are "pair, winner"',
    "{}": "its fields are none",
    '{"pair": 1, "verdict": "first"}': "does not say who judged",
    '{"pair": true, "verdict": "first", "judge": "a"}': "pair is true, expected a number",
    '{"pair": 999999, "verdict": "first", "judge": "a"}': "has no pair 999999",
    '{"verdict": "first", "judge": "a"}': "does not say which pair",
    '{"prompt_id": "p0", "first": "a", "second": "c", "verdict": "first", "judge": "a"}': "has no pair of 'a' and 'c'",
    '{"pair": 1, "first": "zed", "verdict": "first", "judge": "a"}': "which is not what the line says",
    '{"pair": 1, "verdict": "first", "judge": "a\\u0007"}': "expected a name without control characters",
    '{"pair": 1, "verdict": "first", "judge": "j"}': "is a judge of the pool file",
    '{"pair": 1, "verdict": "first", "judge": 7}': "judge is 7, expected a text",
    '{"pair": 1, "first_sample": -1, "verdict": "first", "judge": "a"}': "first_sample is -1",
}


def test_bad_lines_are_refused_by_number_and_the_good_ones_recorded(flow: Flow) -> None:
    good = {"pair": numbers(flow.store)[0], "verdict": "second", "judge": "anna"}
    found = said(flow.store, *BAD, good, asked={"j"})
    assert found.added == 1
    assert [number for number, _reason in found.refused] == list(range(1, len(BAD) + 1))
    for (_number, reason), expected in zip(found.refused, BAD.values(), strict=True):
        assert expected in reason


def test_people_teach_as_a_source_of_their_own_and_change_no_label(flow: Flow) -> None:
    with flow.store.reading() as transaction:
        labels = transaction.ledger.connection.execute(select(resolutions)).all()
    pair = numbers(flow.store)[0]
    other = {"first": "second", "second": "first"}[better(flow.store, pair)]
    said(flow.store, *({"pair": pair, "verdict": other, "judge": name} for name in ("anna", "ben")))
    with flow.store.reading() as transaction:
        counts = [row for row in transaction.preferences.counts() if row.source == HUMAN]
        assert transaction.ledger.connection.execute(select(resolutions)).all() == labels
    assert sum(row.wins_a + row.wins_b for row in counts) == 1.0
    snapshot = Refitter(flow.store, flow.pool).refit(1)
    assert HUMAN in snapshot.sources
    assert [one["judge"] for one in explain(flow.store, pair)["verdicts"]].count("anna") == 1


def test_agreement_with_people_is_shown_by_skill_with_its_interval(flow: Flow) -> None:
    lines = []
    for n, pair in enumerate(numbers(flow.store)):
        preferred = better(flow.store, pair)
        wrong = {"first": "second", "second": "first"}[preferred]
        lines.append({"pair": pair, "verdict": wrong if n % 5 == 0 else "tie" if n == 1 else preferred})
    said(flow.store, *lines, judge="anna")
    state = status(flow.store, None, flow.pool)
    found = state["people"]
    assert found["people"] == {"anna": 40}
    assert found["undecided"] == 1
    judge = found["judges"]["j"]
    assert (judge["pairs"], judge["agreed"]) == (39, 31)
    assert judge["low"] < 31 / 39 < judge["high"]
    assert {name: one["pairs"] for name, one in judge["skills"].items()} == {"prose": 20, "math": 19}
    assert sum(one["pairs"] for one in judge["calibration"]) == 39
    assert judge["labels_needed"] > 100
    schema = Path("services/karma_monitor/status.schema.json").read_text()
    jsonschema.validate(json.loads(json.dumps(state)), json.loads(schema))
    view = QualityView(flow.store, LiveStatus(flow.store, None, flow.pool), flow.pool.tie_margin)
    assert view.read("default")["people"] == found
    assert view.read("other")["people"] is None


def test_people_are_no_judges_that_were_asked(flow: Flow) -> None:
    """They stand in no figure of judges, and make no call whose tokens or cost are unknown."""

    def seen() -> Any:
        live = LiveStatus(flow.store, None, flow.pool).read()
        called = {one["name"] for one in live["endpoints"] if one["kind"] == "judge"}
        exported = [row["karma"] for row in rows_of(flow.store, "jsonl", ExportFilter.usual())]
        judging = explain(flow.store, numbers(flow.store)[0])["judging"]
        return live["quality"], called, exported, judging

    before = seen()
    lines = [
        {"pair": pair, "verdict": "first" if better(flow.store, pair) == "second" else "second"}
        for pair in numbers(flow.store)
    ]
    assert said(flow.store, *lines, judge="anna").added == 40

    assert seen() == before
    assert before[1] == {"j"}
    assert {(row["judges_asked"], row["judge_agreement"]) for row in before[2]} == {(1, None)}


def test_without_people_there_is_nothing_to_compare(flow: Flow) -> None:
    with flow.store.reading() as transaction:
        assert people_figures(transaction.ledger.connection) is None


def test_a_person_in_the_pool_file_is_never_asked() -> None:
    judges = {"j": {"kind": "openai", "model": {**ENDPOINT, "model": "j"}}, "anna": {"kind": "human"}}
    pool = make_pool("ab", judges=judges)
    assert pool.people == ("anna",)
    assert [judge.name for judge in pool.stream_judges("default")] == ["j"]
    with pytest.raises(SettingsError, match="no worker asks people"):
        make_pool("ab", judges=judges, stream={"judges": ["anna"]})
    with pytest.raises(SettingsError, match="no judge is named"):
        Pool.from_tables({"judges": {"anna": {"kind": "human"}}}, Path("pool.toml"))


def test_the_command_records_a_file_and_names_refused_lines(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'karma.db'}")
    store.migrate()
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "p", "id": "p1"})
    flow.finish()
    (pair,) = numbers(store)
    file = tmp_path / "said.jsonl"
    line = json.dumps({"pair": pair, "verdict": "tie", "judge": "anna"})
    file.write_text(f'{line}\n{line}\n{{"pair": {pair}, "verdict": "both"}}\n')
    environment = {"KARMA_HOME": str(tmp_path), "KARMA_POOL": str(tmp_path / "pool.toml"), "PATH": os.environ["PATH"]}
    done = call("verdicts", "default", str(file), "--json", environment=environment)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"version": 1, "stream": "default", "added": 1, "present": 1, "refused": 1}
    assert 'said.jsonl:3: verdict is "both", expected "first", "second" or "tie"' in done.stderr
    unknown = call("verdicts", "defualt", str(file), environment=environment)
    assert unknown.returncode == 2
    assert "no stream is called 'defualt'" in unknown.stderr
    shown = call("status", environment=environment)
    assert shown.returncode == 0
    assert "judges against people, 1 pair, 1 of them without a preference" in " ".join(shown.stdout.split())
    store.close()
