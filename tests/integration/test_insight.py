"""What looks back reads the same from either database."""

from __future__ import annotations

from pathlib import Path

from karma.config.derived_streams import Derivation
from karma.store import Store
from karma_gateway.rematch import derive
from karma_monitor.explain import explain
from karma_monitor.explanation import sentences
from karma_monitor.figures.quality import default_margin, measure
from karma_monitor.figures.rematch import compare
from karma_monitor.report import write
from tests.support.memory import Flow, make_pool


def test_rematch_explain_and_report_work_on_either_database(store: Store, tmp_path: Path) -> None:
    flow = Flow(store, make_pool("abc", streams={"mine": {"responses_per_prompt": 0}}))
    flow.accept(*({"prompt": f"prompt {n}", "id": f"p{n}", "skill": "talk"} for n in range(12)), stream="mine")
    flow.finish()
    derived = Derivation("mine", "all-pairs", 0)
    assert derive(store, derived).added == 12
    assert derive(store, derived).present == 12
    flow.finish()
    with store.reading() as transaction:
        assert transaction.ledger.count_states([derived.name])["done"] == 12
    figures = compare(store, [derived], default_margin)[derived.name]
    assert (figures["pairs"], figures["judge_calls"], figures["decisive_per_prompt"]) == (36, 72, 3.0)
    quality = measure(store, default_margin)
    assert sum(quality.wins.values()) == 48
    judge = quality.judges["j"]
    assert (judge.first, judge.second) == (48, 48)  # the judge looks at the texts alone: each order wins as often
    assert "A preference: " in sentences(explain(store, 1), 600)
    write(store, flow.pool, tmp_path / "report.html")
    assert "mine@all-pairs+0pairs" in (tmp_path / "report.html").read_text()
