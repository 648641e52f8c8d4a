"""How the processes of an endpoint share its concurrent calls: never more than the limit in all."""

from __future__ import annotations

import math

from karma.limits.state import EndpointState, Report, Share

#: Seconds without an exchange after which a process counts as gone.
GONE_S = 6.0

#: Seconds that a process may wait without any call before another gives it one of its own.
_STARVED_S = 2.0


def renew(state: EndpointState, process: str, report: Report, now: float) -> Share:
    """Note what a process has and wants, and forget those that are gone."""
    for name in [name for name, share in state.shares.items() if now - share.seen_at > GONE_S]:
        del state.shares[name]
    share = state.shares.setdefault(process, Share())
    share.in_progress = report.in_progress
    share.demand = report.in_progress + report.waiting
    share.seen_at = now
    return share


def divide(state: EndpointState, process: str, now: float) -> int:
    """Give a process its calls: all that it wants, or an equal share where others want more than they have."""
    share = state.shares[process]
    had = max(share.slots, share.in_progress)
    others = [other for name, other in state.shares.items() if name != process]
    left = state.slots - sum(max(other.slots, other.in_progress) for other in others)
    want = share.demand
    fair = state.slots / (1 + sum(other.demand > 0 for other in others))
    short = [other for other in others if other.demand > max(other.slots, other.in_progress)]
    if short:
        want = min(want, math.ceil(fair))
        waits_since = share.starved_at or now
        if fair < 1 and any(0 < other.starved_at < min(waits_since, now - _STARVED_S) for other in short):
            want = 0
    # After the limit fell, each keeps its equal share until the others have given up theirs.
    kept = min(want, had, math.floor(fair))
    share.slots = max(kept, min(want, left), 0)
    share.starved_at = (share.starved_at or now) if share.demand and not max(share.slots, share.in_progress) else 0.0
    return share.slots
