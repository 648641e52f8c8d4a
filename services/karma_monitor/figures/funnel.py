"""From prompts to preferences: how many there are at each stage, what was lost on the way, and why."""

from __future__ import annotations

from typing import Any

from karma_monitor.queries.totals import Totals


def funnel(totals: Totals) -> list[dict[str, Any]]:
    """From prompts to preferences: how many there are at each stage, and what was lost there and why.

    `of`: what the losses are a part of: all prompts, responses asked for, prompts that ended, verdicts, resolved pairs.
    """

    def loss(reason: str, number: int, link: str | None) -> dict[str, Any]:
        return {"reason": reason, "count": number, "link": link}

    rows, failed, outcomes = totals.rows, totals.failed, totals.outcomes
    without_preference = ("tie", "inconsistent", "unscored")
    stages: list[tuple[str, int, int, list[dict[str, Any]]]] = [
        ("prompts", rows["prompts"], rows["prompts"], [loss("dead", totals.states["dead"], "/dead")]),
        (
            "responses",
            rows["responses"] - failed["responses"],
            rows["responses"],
            [loss("failed", failed["responses"], "/dead")],
        ),
        (
            "pairs",
            rows["pairs"],
            totals.ended,
            [loss(reason, number, None) for reason, number in totals.no_pair.items()],
        ),
        (
            "verdicts",
            rows["verdicts"] - failed["verdicts"],
            rows["verdicts"],
            [loss("failed", failed["verdicts"], None)],
        ),
        (
            "preferences",
            outcomes["decisive"],
            sum(outcomes.values()),
            [loss(name, outcomes[name], f"/pairs?outcome={name}") for name in without_preference],
        ),
    ]
    return [
        {"stage": stage, "count": max(0, number), "of": of, "losses": [one for one in losses if one["count"]]}
        for stage, number, of, losses in stages
    ]
