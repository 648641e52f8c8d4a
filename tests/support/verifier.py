"""The independent reader: what a database says, in SQL and sums of its own, with nothing of the product's code."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from sqlalchemy import Connection, create_engine, text

_DOUBLED = {
    "prompts": "SELECT count(*) - count(DISTINCT stream || '/' || prompt_id) FROM prompts",
    "responses": "SELECT count(*) FROM (SELECT 1 FROM responses GROUP BY prompt, model, sample HAVING count(*) > 1) x",
    "pairs": "SELECT count(*) FROM (SELECT 1 FROM pairs GROUP BY prompt, response_a, response_b HAVING count(*) > 1) x",
    "verdicts": "SELECT count(*) FROM (SELECT 1 FROM verdicts GROUP BY pair, judge, shown HAVING count(*) > 1) x",
    "resolutions": "SELECT count(*) FROM (SELECT 1 FROM resolutions GROUP BY pair HAVING count(*) > 1) x",
}

_COUNTED = "SELECT coalesce(sum(wins_a + wins_b + ties), 0) FROM competency_counts"

#: Pairs with both verdicts, of which the second was asked because of the first.
_CALLED = (
    "SELECT count(*) FROM (SELECT v.pair FROM verdicts v JOIN pairs x ON x.id = v.pair WHERE x.reasons LIKE "
    '\'%"rules": {"%\' AND x.reasons LIKE \'%"audited": false%\' GROUP BY v.pair HAVING count(*) = 2) x'
)

#: Pairs of two judges, of which the second was asked because of the first.
_LARGER = (
    "SELECT count(*) FROM (SELECT v.pair FROM verdicts v JOIN pairs x ON x.id = v.pair WHERE x.reasons LIKE "
    '\'%"judges_why": "first"%\' GROUP BY v.pair HAVING count(DISTINCT v.judge) = 2) x'
)

_PAIRS = (
    "SELECT x.prompt, x.response_a, x.response_b, CASE WHEN r.outcome <> 'unscored' AND x.judged = 1 "
    "AND (p.stream NOT LIKE '%@%' OR p.stream LIKE '%+teach') "
    "THEN CASE WHEN x.reasons LIKE '%\"sure\": %' THEN 1 ELSE 1 / x.judged_probability END ELSE 0 END "
    "FROM pairs x JOIN prompts p ON p.id = x.prompt LEFT JOIN resolutions r ON r.pair = x.id"
)

_BROKEN = {
    "done without an end": "SELECT count(*) FROM prompts p WHERE state = 'done' AND no_pair IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM resolutions r WHERE r.prompt = p.id)",
    "done with two ends": "SELECT count(*) FROM prompts p WHERE state = 'done' AND no_pair IS NOT NULL "
    "AND EXISTS (SELECT 1 FROM pairs x WHERE x.prompt = p.id)",
    "pairs of done prompts without a resolution": "SELECT count(*) FROM pairs x JOIN prompts p ON p.id = x.prompt "
    "WHERE p.state = 'done' AND NOT EXISTS (SELECT 1 FROM resolutions r WHERE r.pair = x.id)",
    "labels of pairs that a judge was asked about": "SELECT count(*) FROM resolutions r JOIN pairs x ON x.id = r.pair "
    "WHERE (r.label_source = 'predicted') <> (x.judged = 0) AND r.outcome = 'decisive'",
    "work on done prompts": "SELECT count(*) FROM work_items w JOIN prompts p ON p.id = w.prompt "
    "WHERE p.state = 'done'",
    "chosen equal to rejected": "SELECT count(*) FROM resolutions WHERE chosen = rejected",
}


def read(url: str) -> dict[str, Any]:
    """Counts of the whole database: `ended`, `lost` (accepted and neither ended nor open), `doubled`, `broken`."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:

        def count(query: str) -> int:
            return round(connection.execute(text(query)).scalar_one())

        found = {
            "accepted": count("SELECT count(*) FROM prompts"),
            "ended": count("SELECT count(*) FROM prompts WHERE state IN ('done', 'dead')"),
            "dead": count("SELECT count(*) FROM prompts WHERE state = 'dead'"),
            "responses": count("SELECT count(*) FROM responses"),
            "failed_responses": count("SELECT count(*) FROM responses WHERE failure IS NOT NULL"),
            "verdicts": count("SELECT count(*) FROM verdicts"),
            "failed_verdicts": count("SELECT count(*) FROM verdicts WHERE failure IS NOT NULL"),
            "resolutions": count("SELECT count(*) FROM resolutions"),
            "second_orders": count(_CALLED),
            "larger_judges": count(_LARGER),
            "no_pair": count("SELECT count(*) FROM prompts WHERE no_pair IS NOT NULL"),
            "doubled": {
                **{what: count(query) for what, query in _DOUBLED.items()},
                "counts": _doubled_counts(connection),
            },
            "broken": {what: count(query) for what, query in _BROKEN.items()},
        }
    engine.dispose()
    return found


def _doubled_counts(connection: Connection) -> float:
    """How far the weight of the counts is from that of the resolved pairs; 0 where rounding explains it.

    The pairs of a prompt weigh as much as the rank of their incidence matrix, which has a row for each pair.
    """
    prompts: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for prompt, *pair in connection.execute(text(_PAIRS)):
        prompts[prompt].append(tuple(pair))
    expected = 0.0
    for pairs in prompts.values():
        responses = sorted({response for pair in pairs for response in pair[:2]})
        incidence = np.zeros((len(pairs), len(responses)))
        for row, (first, second, _) in enumerate(pairs):
            incidence[row, [responses.index(first), responses.index(second)]] = 1.0, -1.0
        rank = 1 if len(pairs) == 1 else int(np.linalg.matrix_rank(incidence))
        expected += rank / len(pairs) * sum(weight for *_, weight in pairs)
    difference = abs(connection.execute(text(_COUNTED)).scalar_one() - expected)
    return float(difference) if difference > 1e-6 * max(1.0, expected) else 0.0


def assert_exact(url: str, accepted: int) -> dict[str, Any]:
    """Every accepted prompt ended exactly once, and nothing was doubled."""
    found = read(url)
    assert found["accepted"] == accepted, found
    assert found["ended"] == accepted, found
    assert not any(found["doubled"].values()), found
    assert not any(found["broken"].values()), found
    return found
