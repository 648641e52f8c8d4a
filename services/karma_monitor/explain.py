"""Why a pair was formed, its verdicts and its outcome, as plain data; `karma_monitor.explanation` words it."""

from __future__ import annotations

import json
from typing import Any

from karma.errors import KarmaError
from karma.store import Store
from karma.verdicts import a_is_better, agrees_with_competency
from karma_monitor.queries.pairs import pair_with_texts, verdicts_on

Facts = dict[str, Any]


def explain(store: Store, pair: int) -> Facts:
    """Everything about a pair. Texts are whole and as they are stored: not safe to show.

    Raises:
        KarmaError: no pair has the id.
    """
    with store.reading() as transaction:
        row = pair_with_texts(transaction.ledger.connection, pair)
        opinions = verdicts_on(transaction.ledger.connection, pair) if row is not None else []
    if row is None:
        raise KarmaError(
            f"the store {store.shown_url} has no pair {pair}. Pairs are numbered as `karma.pair` in "
            "`karma export jsonl -` says."
        )
    reasons = json.loads(row.reasons)
    return {
        "pair": row.id,
        "stream": row.stream,
        "prompt_id": row.prompt_id,
        "skill": row.skill,
        "state": row.state,
        "messages": json.loads(row.messages),
        "reference": row.reference,
        "responses": {
            side: {
                "response": getattr(row, f"response_{side}"),
                "model": getattr(row, f"model_{side}"),
                "sample": getattr(row, f"sample_{side}"),
                "quality": getattr(row, f"quality_{side}"),
                "text": getattr(row, f"text_{side}"),
            }
            for side in "ab"
        },
        "formed": {
            **reasons,
            "policy": row.policy,
            "kinship": row.kinship,
            "gap": row.gap,
            "gap_deviation": row.gap_deviation,
            "information": row.information,
            "likeness": row.likeness,
            "novelty": row.novelty,
            "snapshot": row.snapshot,
            "created_at": row.created_at,
        },
        "judging": {
            "judged": bool(row.judged),
            "probability": row.judged_probability,
            "why": reasons.get("gate"),
            "information": reasons.get("gate_information"),
            "predicted": row.predicted,
            "predicted_tie": row.predicted_tie,
            "awaited": row.awaited,
            "judges_asked": len({one.judge for one in opinions}),
            "judges_valid": len({one.judge for one in opinions if one.probability is not None}),
        },
        "verdicts": [
            {
                "judge": one.judge,
                "order": one.shown,
                "probability": one.probability,
                "better_a": None if one.probability is None else a_is_better(one.probability, one.shown),
                "failure": one.failure,
                "rationale": one.rationale,
            }
            for one in opinions
        ],
        "resolution": None
        if row.outcome is None
        else {
            "outcome": row.outcome,
            "chosen": _side(row),
            "label_source": row.label_source,
            "probability": row.probability,
            "flipped": None if row.flipped is None else bool(row.flipped),
            "predicted": row.predicted_late,
            "reason": row.reason,
        },
        "agrees_with_competency": None
        if row.outcome != "decisive"
        else agrees_with_competency(reasons.get("win_probability"), row.chosen == row.response_a),
    }


def _side(row: Any) -> str | None:
    if row.chosen is None:
        return None
    return "a" if row.chosen == row.response_a else "b"
