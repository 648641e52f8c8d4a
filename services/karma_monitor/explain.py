"""Why a pair was formed, its verdicts and its outcome, as plain data; `karma_monitor.explanation` words it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from karma.config.judge_templates import known_templates
from karma.errors import KarmaError
from karma.messages import JudgeSpec
from karma.ranking.orders import OrderPlan, expected_win
from karma.ranking.verdict_sources import HUMAN
from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.resolution_weights import weighed_of
from karma.store.template_archive import kept
from karma.verdicts import a_is_better, agrees_with_competency
from karma_monitor.explained_judges import judge_facts
from karma_monitor.figures.models.misfit import misfit_pair
from karma_monitor.figures.predictions import win_bin_of
from karma_monitor.queries.pairs import pair_with_texts, verdicts_on

Facts = dict[str, Any]

#: Columns of a pair that say why it was formed; all else is in its `reasons`.
_FORMED = ("policy", "kinship", "gap", "gap_deviation", "information", "likeness", "novelty", "snapshot", "created_at")


def explain(
    store: Store, pair: int, competencies: LatestSnapshot | None = None, judges: Iterable[JudgeSpec] = ()
) -> Facts:
    """Everything about a pair. Texts are whole and as they are stored: not safe to show.

    Args:
        store: to read.
        pair: its id.
        competencies: a cache of the newest ones, for callers that explain many pairs.
        judges: of the pool file, whose templates the verdicts may be by.

    Raises:
        KarmaError: no pair has the id.
    """
    with store.reading() as transaction:
        row = pair_with_texts(transaction.ledger.connection, pair)
        opinions = verdicts_on(transaction.ledger.connection, pair) if row is not None else []
        archived = kept(transaction.ledger.connection, {one.template_hash for one in opinions})
        newest = (competencies or LatestSnapshot()).newest(transaction)
    if row is None:
        raise KarmaError(
            f"the store {store.shown_url} has no pair {pair}. Pairs are numbered as `karma.pair` in "
            "`karma export jsonl -` says."
        )
    reasons = json.loads(row.reasons)
    of_pool = known_templates(judges)
    templates = archived | of_pool
    used = {one.template_hash: templates[one.template_hash] for one in opinions if one.template_hash in templates}
    asked = [one for one in opinions if one.template_hash != HUMAN]
    misfit = newest.misfit(row.model_a, row.model_b)
    return {
        "pair": row.id,
        **{name: getattr(row, name) for name in ("stream", "prompt_id", "skill", "state", "reference")},
        "messages": json.loads(row.messages),
        "responses": {
            side: {name: getattr(row, f"{name}_{side}") for name in ("response", "model", "sample", "quality", "text")}
            for side in "ab"
        },
        "formed": {**reasons, **{name: getattr(row, name) for name in _FORMED}},
        "apart": newest.apart(row.model_a, row.model_b),  # whether no verdict connects the models at present
        "win_bin": win_bin_of(newest, reasons.get("win_probability")),  # whether such probabilities hold at present
        "misfit": None if misfit is None else misfit_pair(misfit),  # of the two models at present
        "judging": {
            "judged": bool(row.judged),
            "probability": row.judged_probability,
            "why": reasons.get("gate"),
            "sure": reasons.get("sure"),
            "information": reasons.get("gate_information"),
            "predicted": row.predicted,
            "predicted_tie": row.predicted_tie,
            "awaited": row.awaited,
            "orders": _orders(row, reasons, opinions),
            "judges": judge_facts(row, reasons, asked),
            "judges_asked": len({one.judge for one in asked}),
            "judges_valid": len({one.judge for one in asked if one.probability is not None}),
        },
        "verdicts": [
            {
                "judge": one.judge,
                "order": one.shown,
                "probability": one.probability,
                "better_a": None if one.probability is None else a_is_better(one.probability, one.shown),
                "failure": one.failure,
                "is_person": one.template_hash == HUMAN,
                "template": used[one.template_hash].title if one.template_hash in used else None,
                "template_hash": None if one.template_hash in ("", HUMAN) else one.template_hash,
                "template_in_pool": one.template_hash in of_pool,
                "rationale": one.rationale,
                "note": one.note,
            }
            for one in opinions
        ],
        # Texts and criteria of the templates, which the store keeps: hash → text, hash → name → sentence.
        "templates": {hashed: template.text for hashed, template in used.items()},
        "criteria": {hashed: dict(template.criteria) for hashed, template in used.items() if template.criteria},
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
            "weighed": {judge: asdict(each) for judge, each in (weighed_of(row.weights) or {}).items()} or None,
        },
        "agrees_with_competency": None
        if row.outcome != "decisive"
        else agrees_with_competency(reasons.get("win_probability"), row.chosen == row.response_a),
    }


def _orders(row: Any, reasons: Facts, given: Sequence[Any]) -> list[Facts] | None:
    """By judge, the orders that were asked, and why; None for a pair that is asked in both."""
    plan = OrderPlan.from_dict(reasons.get("orders"))
    if plan is None:
        return None
    expected = expected_win(row.predicted, reasons.get("win_probability"))
    found = []
    for judge, first in plan.first.items():
        given_by = {one.shown: one.probability for one in given if one.judge == judge}
        is_ruled = plan.setting == "adaptive" and judge in plan.rules
        doubt = plan.doubt(judge, given_by[first], expected) if is_ruled and first in given_by else None
        why = plan.setting if plan.setting == "one" else "audit" if plan.audited else "doubt" if is_ruled else "unknown"
        known = {"judge": judge, "first": first, "asked": sorted(given_by), "why": why}
        found.append({**known, "doubt": doubt, "most_doubt": plan.most_doubt, "audit_share": plan.audit_share})
    return found


def _side(row: Any) -> str | None:
    if row.chosen is None:
        return None
    return "a" if row.chosen == row.response_a else "b"
