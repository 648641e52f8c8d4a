"""Exporters: the formats of exported preferences, by the name that `karma export` takes. One function a file.

Here is what they share: the column `karma`, which says where a preference comes from and how good it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from karma.verdicts import agreement, agrees_with_competency, opinions


def with_karma(columns: dict[str, Any], row: Any, bare: bool) -> dict[str, Any]:
    """The columns of a format and, unless `bare`, the column `karma`."""
    return columns if bare else {**columns, "karma": karma_column(row)}


def karma_column(row: Any) -> dict[str, Any]:
    """Everything that KARMA knows of a preference; signs and probabilities are of the chosen response's side."""
    a_is_chosen = row.chosen == row.response_a
    return {
        "stream": row.stream,
        "prompt_id": row.prompt_id,
        "skill": row.skill,
        "pair": row.id,
        "chosen_response": row.chosen,
        "rejected_response": row.rejected,
        "chosen_model": row.chosen_model,
        "rejected_model": row.rejected_model,
        "probability": row.probability if a_is_chosen else 1 - row.probability,
        "flipped": None if row.flipped is None else bool(row.flipped),
        "label_source": row.label_source,
        "policy": row.policy,
        "kinship": row.kinship,
        "competency_gap": None if row.gap is None else (row.gap if a_is_chosen else -row.gap),
        "competency_gap_deviation": row.gap_deviation,
        "information": row.information,
        "likeness": row.likeness,
        "novelty": row.novelty,
        "judged_probability": row.judged_probability,
        "snapshot": row.snapshot,
        **provenance_of(row),
    }


def provenance_of(row: Any) -> dict[str, Any]:
    """Columns of a preference as an exporter gets it (`karma.plugins.protocols.Exporter`). What is unknown is None.

    - `length_ratio`: characters of the chosen response over the rejected one's.
    - `agrees_with_competency`: whether the model won that competency favored when the pair was formed.
    - `judge_agreement`: share of all two judges that take the same side; None where fewer than two take one.
    - `judges_valid`, `judges_asked`: judges with a valid verdict, of those that were asked.
    - `tokens`: read and written for the two responses and the verdicts.
    - `cost`: theirs, USD.
    """
    calls = list(_calls(row))
    given = opinions(row.verdicts, row.tie_margin)
    return {
        "length_ratio": len(row.chosen_text) / max(1, len(row.rejected_text)),
        "agrees_with_competency": agrees_with_competency(
            json.loads(row.reasons).get("win_probability"), row.chosen == row.response_a
        ),
        "judge_agreement": agreement(given),
        "judges_valid": len(given),
        "judges_asked": len({verdict.judge for verdict in row.verdicts}),
        "tokens": None if any(None in call for call in calls) else sum(call[1] + call[2] for call in calls),
        "cost": None
        if any(None in call or call[0] not in row.prices for call in calls)
        else sum(row.prices[name].of(tokens_in, tokens_out) for name, tokens_in, tokens_out in calls),
    }


def _calls(row: Any) -> Iterator[tuple[str, Any, Any]]:
    """The calls behind a preference: who was asked, tokens read, tokens written."""
    for side in ("chosen", "rejected"):
        yield getattr(row, f"{side}_model"), getattr(row, f"{side}_tokens_in"), getattr(row, f"{side}_tokens_out")
    for verdict in row.verdicts:
        yield verdict.judge, verdict.tokens_in, verdict.tokens_out
