"""The circuit breaker: after sustained failure an endpoint is left alone, and tried by one call at a time.

Closed → open: five failures and no answer for a second, or one failure that no later call would be spared (no key, a
spent quota, an unknown model). Open → closed: any answer.
"""

from __future__ import annotations

from karma.limits.state import Breaker, Report

#: Failures without an answer between them, and seconds without an answer, after which the breaker opens.
FAILURES = 5
SILENT_S = 1.0

#: Seconds until the first call tries an endpoint again; each further one waits half as long again, up to the most.
FIRST_PROBE_S = 1.0
_GROWTH = 1.5
MOST_PROBE_S = 10.0

#: The same after a failure that passes only if somebody does something.
FIRST_PROBE_FOR_GOOD_S = 5.0
MOST_PROBE_FOR_GOOD_S = 60.0

#: Seconds after which another process may try, if the call that is trying did not end.
_PROBE_S = 15.0


def observe(breaker: Breaker, report: Report, process: str, now: float) -> None:
    """Open or close the breaker by a report."""
    if report.answered:
        for name, cleared in zip(Breaker.__struct_fields__, Breaker.__struct_defaults__, strict=True):
            setattr(breaker, name, cleared)
        breaker.answered_at = now
        return
    if not report.failed:
        return
    breaker.failures += report.failed
    breaker.failing_since = breaker.failing_since or now
    if breaker.opened_at:
        # Calls that were under way when it opened say nothing new: only the one that tries does.
        if process == breaker.probed_by:
            _open(breaker, report, now)
        return
    silent_s = now - max(breaker.answered_at, breaker.failing_since)
    if report.for_good or (breaker.failures >= FAILURES and silent_s >= SILENT_S):
        breaker.opened_at = now
        _open(breaker, report, now)


def may_call(breaker: Breaker) -> bool:
    """Whether calls may begin without limit by the breaker."""
    return not breaker.opened_at


def may_probe(breaker: Breaker, process: str, now: float) -> bool:
    """Whether a process may try an open endpoint with one call; it then is the one that does."""
    if not breaker.opened_at or now < breaker.probe_at or (breaker.probed_by and now < breaker.probe_ends):
        return False
    breaker.probed_by, breaker.probe_ends = process, now + _PROBE_S
    return True


def _open(breaker: Breaker, report: Report, now: float) -> None:
    first_s = FIRST_PROBE_FOR_GOOD_S if report.for_good else FIRST_PROBE_S
    most_s = MOST_PROBE_FOR_GOOD_S if report.for_good else MOST_PROBE_S
    wait_s = min(most_s, first_s * _GROWTH ** min(breaker.opened, 32))
    breaker.opened += 1
    breaker.probe_at = now + max(wait_s, report.wait_s)
    breaker.probed_by, breaker.probe_ends = "", 0.0
    breaker.kind, breaker.reason = report.kind, report.reason
