"""What each judge counted for in a resolution, as it is stored with it: JSON, judge → [weight, log-odds for a]."""

from __future__ import annotations

import json
from collections.abc import Mapping

from karma.verdicts import Weighed


def weights_json(weighed: Mapping[str, Weighed] | None) -> str | None:
    """The stored form; None where the label is a mean, or of one judge."""
    if not weighed:
        return None
    return json.dumps({judge: [round(each.weight, 6), round(each.log_odds, 6)] for judge, each in weighed.items()})


def weighed_of(stored: str | None) -> dict[str, Weighed] | None:
    """The result of `weights_json` read again."""
    return None if stored is None else {judge: Weighed(*each) for judge, each in json.loads(stored).items()}
