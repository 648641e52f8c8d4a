"""Streams of the goal `train` on real databases: labels of sure pairs, their exports and their audit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from karma.config.goals import LEAST_SURE, chosen_by_goal
from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import from_bytes, to_bytes
from karma.store import Store
from karma.store.counting import unsure_labels
from karma.store.export_filter import ExportFilter
from karma.store.schema import competency_counts, gates, pairs, resolutions
from karma_gateway import exports
from karma_matching.budget.allocation import BudgetState
from karma_matching.budget.sure_labels import ENOUGH, NO_CALL, START, SURE, SureState
from karma_monitor.explain import explain
from karma_monitor.explanation import sentences
from karma_monitor.queries.finished import finished_since
from karma_scoring.fit.predictions.judge_budget import BudgetInputReader
from tests.support.memory import Flow, make_pool
from tests.support.verifier import assert_exact

PROMPTS = 300
BY_DEFAULT = ExportFilter(least_predicted=0.6, least_sure=LEAST_SURE)


def known(models: str = "abcd") -> Snapshot:
    """The first half of the models is far better than the second, which is sure; nothing is known within a half."""
    half = np.repeat([3.0, -3.0], len(models) // 2)
    mean = np.append(half, 0.0)[None, :]
    gap = mean[:, :, None] - mean[:, None, :]
    win = 0.5 + 0.47 * np.sign(gap) * (np.abs(gap) > 3.0)
    return replace(Snapshot.empty(models), mean=mean, win=win, comparisons=np.full(gap.shape, 5.0))


def flow_of(store: Store, **stream: object) -> Flow:
    """A stream of the goal `train` with one pair a prompt, so that pairs can be counted."""
    one_pair = {"responses_per_prompt": 2, "pairs_per_prompt": 1}
    flow = Flow(store, make_pool("abcd", both_orders=False, stream={"goal": "train", **one_pair, **stream}))
    flow.snapshot = known()
    return flow


def run(flow: Flow, prompts: int = PROMPTS, deliveries: int = 1, first: int = 0) -> list:
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(first, first + prompts)))
    flow.finish(deliveries)
    with flow.store.engine.connect() as connection:
        query = select(pairs, resolutions).join(resolutions, resolutions.c.pair == pairs.c.id).order_by(pairs.c.id)
        return [(row, json.loads(row.reasons)) for row in connection.execute(query)]


@pytest.mark.parametrize("deliveries", [1, 2])
def test_every_pair_is_judged_labeled_or_left_out_with_its_reason(store: Store, deliveries: int) -> None:
    rows = run(flow_of(store), deliveries=deliveries)

    assert_exact(store.engine.url.render_as_string(hide_password=False), PROMPTS)
    assert len(rows) == PROMPTS
    for row, reasons in rows:
        assert 0 < row.judged_probability <= 1
        known_winner = abs(reasons["win_probability"] - 0.5) > 0.4
        assert reasons["sure"] == (known_winner and reasons["gate"] != ENOUGH) or reasons["gate"] == "audit"
        if not row.judged:
            assert reasons["gate"] in (SURE, NO_CALL, ENOUGH)
            assert (row.label_source, row.outcome) == ("predicted", "decisive")
    sure = [row for row, reasons in rows if reasons["sure"]]
    judged = [row for row, _ in rows if row.judged]
    assert 0 < sum(row.judged for row in sure) < 0.15 * len(sure)  # the audit
    assert START <= len(judged) <= START + sum(row.judged_probability < 1 for row in judged)
    with store.engine.connect() as connection:
        gate = connection.execute(select(gates)).one()
        counts = connection.execute(select(competency_counts)).all()
    state = SureState.from_json(gate.body)
    assert (gate.seen, gate.judged) == (state.seen, state.judged) == (len(rows), len(judged))
    assert sum(row.wins_a + row.wins_b + row.ties for row in counts) == len(judged)  # audits count as others
    assert sum(row.squares for row in counts) == len(judged)


def test_exports_have_the_labels_that_were_sure_and_others_only_if_asked_to(store: Store) -> None:
    rows = run(flow_of(store))
    left_out = {row.id for row, reasons in rows if not row.judged and not reasons["sure"]}
    labeled = {row.id for row, reasons in rows if not row.judged and reasons["sure"]}
    decisive = {row.id for row, _ in rows if row.outcome == "decisive"}
    assert left_out and labeled

    by_default = exports.rows(store, "jsonl", BY_DEFAULT)
    assert {row["karma"]["pair"] for row in by_default} == decisive - left_out
    assert by_default.predicted == len(labeled)
    assert {row["karma"]["pair"] for row in exports.rows(store, "jsonl", ExportFilter())} == decisive
    with store.reading() as transaction:
        assert transaction.preferences.uncertain_labels(BY_DEFAULT) == len(left_out)
        finished = finished_since(transaction.ledger.connection, "default", 0.0)
        assert finished.unsure == unsure_labels(transaction.ledger.connection) == len(left_out)
    assert finished.labels == {"judge": len(decisive - left_out - labeled), "predicted": len(labeled | left_out)}
    assert not finished.failed
    assert any(f"{len(left_out)} of these are not sure enough" in sentence for sentence in finished.sentences())


def test_the_audited_error_is_that_of_labels_only(store: Store) -> None:
    rows = run(flow_of(store, audit_share=0.3), prompts=600)
    audits = [row for row, reasons in rows if row.judged and row.judged_probability < 1 and row.outcome == "decisive"]
    of_labels = [row for row, reasons in rows if row in audits and reasons["sure"]]
    assert 0 < len(of_labels) < len(audits)

    with store.reading() as transaction:
        inputs = BudgetInputReader().read(transaction, 1.0)
    assert inputs.audits["default"].audited == len(of_labels)

    labels = inputs.labels(known(), {})
    assert labels is not None
    assert labels.examples == sum(row.judged for row, _ in rows)
    archived = from_bytes(to_bytes(replace(known(), labels=labels))).labels
    assert vars(archived) == vars(labels)
    assert from_bytes(to_bytes(known())).labels is None


def test_a_stream_that_changes_its_goal_keeps_its_budget_and_starts_the_new_one(store: Store) -> None:
    """A budget's state of an earlier version has nothing about sure labels."""
    before = Flow(store, make_pool("abcd", both_orders=False, stream={"judge_share": 0.5}))
    run(before, prompts=60)
    with store.engine.connect() as connection:
        old = connection.execute(select(gates.c.body)).scalar_one()
    assert "sure" not in json.loads(old)

    rows = run(flow_of(store), prompts=100, first=60)
    with store.engine.connect() as connection:
        new = connection.execute(select(gates.c.body)).scalar_one()
    assert BudgetState.from_json(new).seen == len(rows) == 160
    assert SureState.from_json(new).seen == 100

    back = run(before, prompts=20, first=160)
    with store.engine.connect() as connection:
        kept = connection.execute(select(gates.c.body)).scalar_one()
    assert SureState.from_json(kept) == SureState.from_json(new)
    assert all("sure" not in reasons and reasons["goal"] == "label" for _, reasons in back[160:])


def test_explain_says_what_the_goal_chose(store: Store) -> None:
    flow = flow_of(store)
    rows = run(flow)
    sure = next(row for row, reasons in rows if reasons["gate"] == SURE)
    left_out = next(row for row, reasons in rows if reasons["gate"] == NO_CALL)

    text = sentences(explain(store, sure.id), 80)
    assert "The posterior is sure enough to label it, and the audit did not draw it." in text
    by_goal = chosen_by_goal("train", flow.pool.stream("default"))
    assert {"policy", "label_at"} <= by_goal.keys()
    chosen = ", ".join(f"{key} = {json.dumps(value)}" for key, value in by_goal.items())
    assert f"The stream's goal was train, which chose {chosen}." in text
    assert "no judge call was left: exports leave its prediction out." in sentences(explain(store, left_out.id), 80)


def test_explain_does_not_credit_the_goal_with_what_was_set_by_hand(store: Store) -> None:
    by_hand = {"policy": "random", "label_at": 0.8}
    flow = flow_of(store, **by_hand)
    rows = run(flow, prompts=20)

    by_goal = chosen_by_goal("train", flow.pool.stream("default"))
    assert not by_goal.keys() & by_hand.keys()
    chosen = ", ".join(f"{key} = {json.dumps(value)}" for key, value in by_goal.items())
    assert f"The stream's goal was train, which chose {chosen}." in sentences(explain(store, rows[0][0].id), 80)
