"""The funnel from prompts to preferences: counts and losses by stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from karma_monitor.queries.totals import Totals


def funnel(totals: Totals) -> list[dict[str, Any]]:
    """Per stage: its count, its losses by reason, and in `of` the number that the losses are a part of.

    That is the number of prompts, requested responses, finished prompts, verdicts, or resolved pairs.
    """

    rows, failed, outcomes = totals.rows, totals.failed, totals.outcomes

    def stage(name: str, count: int, of: int, losses: Mapping[str, int], link: str | None = None) -> dict[str, Any]:
        named = [
            {"reason": reason, "count": lost, "link": link and link.format(reason)}
            for reason, lost in losses.items()
            if lost
        ]
        return {"stage": name, "count": max(0, count), "of": of, "losses": named}

    def calls(table: str, link: str | None = None) -> dict[str, Any]:
        return stage(table, rows[table] - failed[table], rows[table], {"failed": failed[table]}, link)

    undecided = {name: outcomes[name] for name in ("tie", "inconsistent", "unscored")}
    return [
        stage("prompts", rows["prompts"], rows["prompts"], {"dead": totals.states["dead"]}, "/dead"),
        calls("responses", "/dead"),
        stage("pairs", rows["pairs"], totals.ended, totals.no_pair),
        calls("verdicts"),
        stage("preferences", outcomes["decisive"], sum(outcomes.values()), undecided, "/pairs?outcome={}"),
    ]
