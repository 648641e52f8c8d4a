"""Why the judges of a pair were asked that were asked: as plain data, and as a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from karma.ranking.judge_plan import JudgePlan
from karma.ranking.orders import expected_win
from karma.telemetry.escaping import escape_control
from karma_monitor.figures.formatting import percent

Facts = dict[str, Any]


def judge_facts(row: Any, reasons: Facts, given: Sequence[Any]) -> Facts | None:
    """The plan of a pair's judges, and the doubt that the first one left; None where all judges were asked.

    Args:
        row: of `pair_with_texts`.
        reasons: of the pair.
        given: its verdicts.
    """
    plan = JudgePlan.from_dict(reasons.get("judges"))
    if plan is None:
        return None
    known = expected_win(row.predicted, reasons.get("win_probability"))
    lengths = len(row.text_a or ""), len(row.text_b or "")
    by_first = [one for one in given if one.judge == plan.first]
    return {
        "first": plan.first,
        "at_once": list(plan.at_once),
        "others": list(plan.larger) if plan.first is not None else [],
        "why": plan.why,
        "doubt": plan.doubt(by_first, known, lengths) if by_first else None,
        "most_doubt": plan.most_doubt,
        "audit_share": plan.audit_share,
        "fitted_to": 0 if plan.rule is None else plan.rule.pairs,
        "others_asked": sorted({one.judge for one in given} - {plan.first}),
    }


def judges_sentence(facts: Facts) -> str:
    """Why these judges of the stream were asked about a pair, and the others were not."""
    if facts["first"] is None:
        drawn = escape_control(", ".join(facts["at_once"]))
        if facts["why"] == "all":
            return f"All judges see this pair, {drawn}: it was drawn for that, as {percent(facts['audit_share'])} are."
        return f"Drawn for this pair of the stream's judges: {drawn}."
    first, others = escape_control(facts["first"]), escape_control(", ".join(facts["others"]))
    if facts["why"] != "first":
        drawn = f"an audit drew the pair, as it does with {percent(facts['audit_share'])}"
        why = drawn if facts["why"] == "audit" else "too little was known about how often they disagree"
        return f"{first} and {others} were asked at once: {why}."
    if facts["doubt"] is None:
        return f"{first} is asked first and has given no verdict yet; {others} may follow."
    return _after_first(facts, first, others)


def _after_first(facts: Facts, first: str, others: str) -> str:
    """What followed the verdicts of the first judge."""
    doubt, most = f"P({others} would give another label) was {percent(facts['doubt'])}", percent(facts["most_doubt"])
    if facts["doubt"] >= 1.0:
        doubt = f"a verdict of {first} failed, or it took no side"
    if facts["others_asked"]:
        return f"{first} was asked first, and then {others}: {doubt}; up to {most} its label stands."
    if facts["doubt"] > facts["most_doubt"]:
        return f"{first} was asked first: {doubt}; above {most} {others} are asked."
    return f"{first} was asked first and decided alone: {doubt}; up to {most} its label stands."
