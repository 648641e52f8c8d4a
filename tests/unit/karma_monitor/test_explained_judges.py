"""Why the judges of a pair were asked: in `karma explain`, and what that saves in the status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from karma.messages import GenerateBatch, JudgeBatch
from karma.ranking.label_error import LabelError
from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import to_bytes
from karma.store import Store
from karma_cli.terminal.judges import judge_tables
from karma_monitor.explain import explain
from karma_monitor.explanation import sentences
from karma_monitor.status import status
from tests.integration.test_cascade import SURE, UNSURE, Says, always, make_flow, run
from tests.support.stores import memory

ROTATION = {"rule": None, "first_judge": None, "judges_per_pair": 1}


@pytest.mark.parametrize(
    ("says", "stream", "sentence"),
    [
        (always(SURE), {}, "s was asked first and decided alone: P(L would give another label) was"),
        (always(SURE), {}, "up to 20 % its label stands."),
        (always(UNSURE), {}, "s was asked first, and then L: P(L would give another label) was 94 %"),
        (always(0.5), {}, "s was asked first, and then L: a verdict of s failed, or it took no side"),
        (always(SURE), {"judge_audit_share": 1.0}, "s and L were asked at once: an audit drew the pair, as it does"),
        (
            always(SURE),
            {"rule": None},
            "s and L were asked at once: too little was known about how often they disagree.",
        ),
        (always(SURE), ROTATION, "Drawn for this pair of the stream's judges: "),
        (always(SURE), {**ROTATION, "all_judges_share": 1.0}, "All judges see this pair, s, L: it was drawn for that"),
    ],
)
def test_a_pair_says_why_its_judges_were_asked(says: Says, stream: dict[str, Any], sentence: str) -> None:
    flow = run(make_flow(memory(), **stream), says, 1)
    assert sentence in sentences(explain(flow.store, 1), 0)


def test_before_a_verdict_a_pair_says_who_is_asked_first() -> None:
    flow = make_flow(memory())
    flow.accept({"prompt": "Say."})
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            if not isinstance(batch, JudgeBatch):
                flow.handle(flow.answer(batch) if isinstance(batch, GenerateBatch) else batch)
    assert "s is asked first and has given no verdict yet; L may follow." in sentences(explain(flow.store, 1), 0)


def keep_audit(store: Store) -> None:
    found = replace(Snapshot.empty(), cascade_audits={"default": LabelError(0.02, 0.01, 0.05, 30, 500)})
    with store.transaction() as transaction:
        transaction.preferences.add_snapshot(1, 1.0, to_bytes(found))


def test_the_status_says_what_a_first_judge_saves_and_how_often_its_labels_are_wrong() -> None:
    flow = run(make_flow(memory()), lambda judge, pair, _order: SURE if judge == "L" or pair % 4 else UNSURE, 8)
    keep_audit(flow.store)
    found = status(flow.store, None, flow.pool)
    (one,) = found["cascades"]
    assert (one["stream"], one["pairs"], one["alone"]) == ("default", 8, 6)
    assert (one["larger_calls"], one["larger_calls_saved"]) == (2, 6)
    assert one["saved_share"] == one["alone_share"] == 0.75
    assert one["label_error"] == {"estimate": 0.02, "low": 0.01, "high": 0.05, "audited": 30, "unjudged": 500}
    assert len(judge_tables({**found, "jury": {}, "people": None})) == 1


def test_a_stream_without_a_first_judge_has_no_such_figures() -> None:
    flow = run(make_flow(memory(), rule=None, first_judge=None), always(SURE), 2)
    assert status(flow.store, None, flow.pool)["cascades"] == []
