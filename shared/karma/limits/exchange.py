"""One exchange of a process with an endpoint's state: a report goes in, a grant comes out."""

from __future__ import annotations

import math

from karma.limits import adaptation, breaker, pacing, shares
from karma.limits.state import EndpointState, Grant, Report, Settings

#: Seconds until the next exchange of a process that has all it wants, lacks calls, or waits for an open breaker.
_SATISFIED_S, _LACKING_S, _OPEN_S = 1.0, 0.25, 1.0
_LEAST_AGAIN_S = 0.05


def exchange(state: EndpointState, process: str, report: Report, settings: Settings, now: float) -> Grant:
    """Apply a report to the state, and grant what the process may do.

    Args:
        state: is changed.
        process: a name that no other process has.
        report: what came of its calls since the last exchange.
        settings: the endpoint's limits.
        now: the time on the clock that all processes share, s.
    """
    breaker.observe(state.breaker, report, process, now)
    pacing.observe(state.pace, report, settings, now)
    shares.renew(state, process, report, now)
    paced = pacing.is_paced(state.pace, settings, now)
    demand = sum(share.demand for share in state.shares.values())
    adaptation.observe(state, report, demand, paced or not breaker.may_call(state.breaker), settings, now)
    answered_at = state.breaker.answered_at
    if not breaker.may_call(state.breaker):
        probes = bool(report.waiting) and breaker.may_probe(state.breaker, process, now)
        state.shares[process].slots = report.in_progress + probes
        wait_s = state.breaker.probe_at - now
        return Grant(
            slots=report.in_progress + probes,
            starts=int(probes),
            paced=True,
            open=True,
            kind=state.breaker.kind,
            reason=state.breaker.reason,
            answered_at=answered_at,
            again_s=min(_OPEN_S, max(_LEAST_AGAIN_S, wait_s)),
        )
    slots = shares.divide(state, process, now)
    if not paced:
        lacks = slots < report.in_progress + report.waiting
        return Grant(slots=slots, answered_at=answered_at, again_s=_LACKING_S if lacks else _SATISFIED_S)
    # No more than its calls in progress leave room for, so that none is kept from another process.
    rounds = math.ceil(pacing.AHEAD_S / report.call_s) if report.call_s else 1
    most = max(0, min(report.waiting, slots * rounds) - report.unused)
    count, first_s, step_s = pacing.starts(state.pace, report, settings, most, now)
    again_s = first_s if not count and most else count * step_s / 2
    return Grant(
        slots=slots,
        starts=count,
        first_s=first_s,
        step_s=step_s,
        paced=True,
        answered_at=answered_at,
        again_s=min(_LACKING_S, max(_LEAST_AGAIN_S, again_s)),
    )
