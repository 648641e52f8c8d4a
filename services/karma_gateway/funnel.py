"""From prompts to preferences: how many there are at each stage, what was lost on the way, and why."""

from __future__ import annotations

from typing import Any

from karma.store.totals import Totals


def funnel(totals: Totals) -> list[dict[str, Any]]:
    """From prompts to preferences: how many there are at each stage, and what was lost there and why."""

    def loss(reason: str, number: int, link: str | None) -> dict[str, Any]:
        return {"reason": reason, "count": number, "link": link}

    outcomes = totals.outcomes
    stages: list[tuple[str, int, list[dict[str, Any]]]] = [
        ("prompts", totals.rows["prompts"], [loss("dead", totals.states["dead"], "/dead")]),
        (
            "responses",
            totals.rows["responses"] - totals.failed["responses"],
            [loss("failed", totals.failed["responses"], "/dead")],
        ),
        ("pairs", totals.rows["pairs"], [loss(reason, number, None) for reason, number in totals.no_pair.items()]),
        (
            "verdicts",
            totals.rows["verdicts"] - totals.failed["verdicts"],
            [loss("failed", totals.failed["verdicts"], "/dead")],
        ),
        (
            "preferences",
            outcomes["decisive"],
            [loss(name, outcomes[name], f"/pairs?outcome={name}") for name in ("tie", "inconsistent", "unscored")],
        ),
    ]
    return [
        {"stage": stage, "count": max(0, number), "losses": [one for one in losses if one["count"]]}
        for stage, number, losses in stages
    ]
