"""Common changes of all competencies, as plain data and as sentences."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from karma.ranking.snapshot import Snapshot

_CAUSES = {
    "scale": "all gaps changed by one factor, as where a new judge separates models better or worse",
    "mixture": "all models moved, as where prompts come from other topics; label topics as skills to tell them apart",
}


def common_change_facts(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The common changes, oldest first."""
    return [{**asdict(change), "cause": _CAUSES[change.kind]} for change in snapshot.common_changes]


def common_change_sentence(change: dict[str, Any]) -> str:
    """What is known of one change."""
    at = datetime.fromtimestamp(change["at"], UTC)
    return f"{at:%Y-%m-%d %H:%M} UTC: {change['cause']}; no model is held to have changed"
