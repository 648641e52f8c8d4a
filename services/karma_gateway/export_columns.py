"""The column `karma` of an exported preference: where it comes from, and how good it is."""

from __future__ import annotations

from typing import Any

from karma.store.provenance import provenance_of


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
