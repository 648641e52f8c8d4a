"""What always holds of the rows of a database, whatever the model says."""

from __future__ import annotations

from typing import Any

from tests.properties.ledger.records import Key, Prompt
from tests.properties.ledger.weights import DIGITS, weight_of


def put(rows: dict[Any, Any], key: Any, value: Any) -> None:
    assert key not in rows, f"doubled: {key}"
    rows[key] = value


def check(prompts: dict[Key, Prompt], counts: dict[Any, float]) -> None:
    """What always holds, whatever the model says."""
    stages = {
        "dispatched": [{"generate"}, {"score"}],
        "answered": [{"match"}],
        "matched": [{"judge"}],
        "done": [set()],
        "dead": [{"generate"}, {"score"}, {"match"}, {"judge"}],
    }
    for key, prompt in prompts.items():
        where = f"{key}: {prompt}"
        assert {item.stage for item in prompt.open} in stages.get(prompt.state, [set(), *stages["dead"]]), where
        assert all(work.parked == (prompt.state in ("accepted", "dead")) for work in prompt.open.values()), where
        unresolved = [pair for pair in prompt.pairs if pair not in prompt.resolutions]
        awaited = {"dispatched": len(prompt.open), "matched": len(unresolved)}.get(prompt.state, 0)
        assert prompt.awaited == awaited, where
        assert (awaited > 0) == (prompt.state in ("dispatched", "matched")), where
        for pair, left in prompt.pairs.items():
            assert left == sum(item.pair == pair for item in prompt.open), where
            assert (left == 0) == (pair in prompt.resolutions), where
        if prompt.state == "done":
            assert bool(prompt.resolutions) != bool(prompt.no_pair), where
            assert prompt.resolutions.keys() == prompt.pairs.keys(), where
    taught = sum(
        weight_of(prompt.pairs) * (found[0] != "unscored" and a[0] != b[0])
        for prompt in prompts.values()
        for (a, b), found in prompt.resolutions.items()
    )
    assert round(sum(counts.values()) - taught, DIGITS) == 0
