"""How often each judge is right about canaries, and how often an attack inside one wins."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from sqlalchemy import Connection

from karma.config.derived_streams import derivation
from karma.store.canary_results import newest_canaries, sightings
from karma_monitor.figures.intervals import ratio, wilson
from karma_monitor.figures.quality import TieMargin

#: Canaries that figures go by: the newest.
_MOST = 2_000


def canary_figures(connection: Connection, tie_margin: TieMargin, stream: str | None = None) -> list[dict[str, Any]]:
    """The figures of each judge on the newest canaries of a stream, or of all; empty without any.

    `accuracy` is over clean canaries, `attack_success` over those with an attack inside: the share in which the wrong
    response wins. A verdict that takes no side is neither. Canaries on which a judge failed are left out of both; they
    are `failed`. Intervals are of 95 %; None without a canary of the kind.
    """
    if stream is not None and derivation(stream) is not None:
        return []
    counts: defaultdict[str, Counter[tuple[bool, str]]] = defaultdict(Counter)
    for seen in sightings(newest_canaries(connection, stream, _MOST), tie_margin):
        counts[seen.judge][seen.attack, seen.result] += 1
    return [
        {
            "judge": judge,
            **_share("accuracy", "clean", found[False, "right"], _number(found, attack=False)),
            **_share("attack_success", "attacked", found[True, "wrong"], _number(found, attack=True)),
            "failed": found[True, "failed"] + found[False, "failed"],
        }
        for judge, found in sorted(counts.items())
    ]


def _number(found: Counter[tuple[bool, str]], *, attack: bool) -> int:
    return sum(count for (kind, result), count in found.items() if kind is attack and result != "failed")


def _share(name: str, number_name: str, part: int, whole: int) -> dict[str, Any]:
    low, high = wilson(part, whole) if whole else (None, None)
    return {name: ratio(part, whole), f"{name}_low": low, f"{name}_high": high, number_name: whole}
