"""A judge budget of one half, through the real services, on real answers and recorded verdicts."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import from_bytes
from tests.acceptance.test_real_answers import prompts
from tests.support import needs
from tests.support.pipeline import Pipeline, wait_until
from tests.support.recorded import TIE_LOGITS, key, logits

FIT, PAIRS, SHARE = 120, 60, 0.5
POOL = f"""
[stream]
goal = "label"
policy = "random"
pairs_per_prompt = {PAIRS}
[streams.fit]
judge_share = 1.0
[streams.evaluate]
judge_share = {SHARE}
[judges.recorded]
kind = "recorded"
both_orders = false
"""
ROWS = """
SELECT p.messages, a.text, b.text, r.outcome, r.chosen = x.response_a, r.label_source,
       x.judged, x.judged_probability
FROM pairs x JOIN resolutions r ON r.pair = x.id JOIN prompts p ON p.id = x.prompt
JOIN responses a ON a.id = x.response_a JOIN responses b ON b.id = x.response_b
WHERE p.stream = 'evaluate'
"""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_half_of_the_judge_calls_leave_few_labels_wrong(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, POOL, plugins="tests.support.recorded")
    karma.environment["KARMA_BENCH_DATA"] = str(needs.answers())
    asked = prompts(Path(os.environ["KARMA_BENCH_DATA"]))
    database = tmp_path / "karma.db"

    def newest() -> Snapshot | None:
        with sqlite3.connect(database) as connection:
            row = connection.execute("SELECT body FROM snapshots ORDER BY version DESC LIMIT 1").fetchone()
        return row and from_bytes(row[0])

    with karma.up():
        karma.enqueue(asked[::4], "--stream", "fit")
        karma.wait_for_end(FIT, 200)
        wait_until(lambda: (found := newest()) and found.outcome, 60, "the outcome model is learned")
        karma.enqueue([one for n, one in enumerate(asked) if n % 4], "--stream", "evaluate")
        status = karma.wait_for_end(len(asked), 300)
    assert status["prompts"]["done"] == len(asked)
    assert status["preferences"]["predicted"] > 0
    with sqlite3.connect(database) as connection:
        rows = connection.execute(ROWS).fetchall()
    known = logits()
    wrong = decisive = judged = 0
    for messages, a, b, outcome, a_is_chosen, source, was_judged, probability in rows:
        question = json.loads(messages)[-1]["content"]
        gap = known[key(question, a)] - known[key(question, b)]
        judged += was_judged
        assert 0 < probability <= 1
        assert (source == "predicted") == (not was_judged)
        if abs(gap) > TIE_LOGITS:
            decisive += 1
            wrong += outcome == "decisive" and bool(a_is_chosen) != (gap > 0)
    snapshot = newest()
    assert snapshot is not None
    print(
        f"{len(rows)} pairs, {judged / len(rows):.3f} judged, {100 * wrong / decisive:.2f} % of labels wrong, "
        f"audit {snapshot.audits.get('evaluate')}, outcome model of {snapshot.outcome and snapshot.outcome.examples}"
    )
    assert len(rows) >= (len(asked) - FIT) * PAIRS * 0.99
    assert judged / len(rows) == pytest.approx(SHARE, abs=0.02)
    assert wrong / decisive <= 0.035
    audit = snapshot.audits["evaluate"]
    assert audit.low <= wrong / sum(row[5] == "predicted" for row in rows) <= audit.high
