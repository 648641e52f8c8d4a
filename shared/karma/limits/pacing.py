"""When calls may begin: requests and tokens per minute, the endpoint's own words, and a rate learnt from 429.

Beginnings are spaced evenly (the generic cell rate algorithm of ITU-T I.371, without bursts), and handed out at most
half a second ahead. So no minute has more calls than the limit, however many processes there are, and a limit that was
lost with Redis begins empty.
"""

from __future__ import annotations

import math

from karma.limits.state import Pace, Report, Settings

#: Seconds ahead that beginnings are handed out.
AHEAD_S = 0.5

#: The part of a configured limit that is used: the spacing is this much wider, for calls that begin late.
_USED = 0.995

#: Seconds of the first block after a 429 without a word on when to come back; doubled with each further one.
_FIRST_BLOCK_S = 0.5
_MOST_BLOCK_S = 5.0
#: Seconds in which the call that tries first would have been refused.
_TRY_S = 0.5

#: After a 429 the rate is this share of what was answered since the one before, and at least the second of what it was.
_CUT, _MOST_CUT = 0.95, 0.5
#: Seconds over which that is counted at least; and a shorter time without 429 is an allowance that was used up at once.
_LEAST_S, _SHORT_S = 0.5, 2.0
#: Least rate that is learnt, calls per second.
_LEAST_PER_S = 0.05
#: Growth of a learnt rate per second: below the rate of the last 429, above it, and long after it.
_GROWTH_BELOW, _GROWTH_ABOVE, _GROWTH_LATER = 0.04, 0.01, 0.1
#: The same after a rate that was learnt from less than this many seconds, which may be far too low.
_GROWTH_ROUGH, _ROUGH_S = 0.3, 5.0
_NEAR = 0.97
_LATER_S = 60.0
#: A learnt rate above this many times what is answered limits nothing, and is forgotten.
_FORGET = 4.0
#: Seconds without a report after which answers are counted anew.
_PAUSE_S = 5.0


def observe(pace: Pace, report: Report, settings: Settings, now: float) -> None:
    """Learn from a report: a block and a lower rate by a 429, else a higher rate."""
    if now - pace.seen_at > _PAUSE_S:
        pace.answered, pace.since = 0, now
    elif now - pace.since > 2 * _LATER_S:  # the newer half counts
        pace.answered, pace.since = pace.answered // 2, now - _LATER_S
    pace.seen_at = now
    pace.answered += report.answered
    if report.token_correction and settings.tokens_per_minute:
        pace.token_at += report.token_correction * 60.0 / settings.tokens_per_minute / _USED
    if report.refused:
        _refused(pace, report, now)
    elif report.wait_s and not report.failed:
        pace.blocked_until = max(pace.blocked_until, now + report.wait_s)
    else:
        if pace.refusals and pace.tried_at and (report.answered or now - pace.tried_at >= _TRY_S):
            _recovered(pace, now)
        _grow(pace, report, now)


def starts(pace: Pace, report: Report, settings: Settings, most: int, now: float) -> tuple[int, float, float]:
    """Take the next beginnings.

    Returns:
        Their number, at most `most`; seconds until the first; seconds between two.
    """
    if now < pace.blocked_until:
        return 0, pace.blocked_until - now, 0.0
    if pace.refusals and most > 0:  # one call tries first
        most, pace.tried_at, pace.blocked_until = 1, now, now + _TRY_S
    step_s = _step_s(pace, settings)
    token_step_s = 0.0
    if settings.tokens_per_minute:
        token_step_s = max(1.0, report.tokens_per_call) * 60.0 / settings.tokens_per_minute / _USED
    if not step_s and not token_step_s:
        return most, 0.0, 0.0
    # A state without a past may have handed out beginnings before it was lost.
    request_at = max(now, pace.request_at) if pace.request_at else now + AHEAD_S
    token_at = max(now, pace.token_at) if pace.token_at else now + AHEAD_S
    first_at = max(request_at if step_s else now, token_at if token_step_s else now)
    each_s = max(step_s, token_step_s)
    count = min(most, max(0, math.floor((now + AHEAD_S - first_at) / each_s) + 1)) if most > 0 else 0
    if step_s:
        pace.request_at = first_at + count * each_s if count else request_at
    if token_step_s:
        pace.token_at = max(token_at, first_at) + count * token_step_s if count else token_at
    return count, max(0.0, first_at - now) if count else max(0.0, first_at - AHEAD_S - now), each_s


def is_paced(pace: Pace, settings: Settings, now: float) -> bool:
    """Whether a limit per time holds now."""
    return bool(_step_s(pace, settings) or settings.tokens_per_minute or pace.refusals or now < pace.blocked_until)


def _step_s(pace: Pace, settings: Settings) -> float:
    """Seconds between two requests; 0 without a limit."""
    configured = settings.requests_per_minute
    steps = [60.0 / configured / _USED] if configured else []
    if pace.per_s is not None:
        steps.append(1.0 / pace.per_s)
    return max(steps, default=0.0)


def _refused(pace: Pace, report: Report, now: float) -> None:
    if now < pace.blocked_until and not pace.tried_at:  # one of those that were in progress with the first
        pace.blocked_until = max(pace.blocked_until, now + report.wait_s)
        return
    if not pace.refusals:
        pace.active_s = now - pace.since
    pace.refusals += 1
    pace.tried_at = 0.0
    block_s = min(_MOST_BLOCK_S, _FIRST_BLOCK_S * 2.0 ** min(pace.refusals - 1, 8))
    pace.blocked_until = now + (report.wait_s or block_s)


def _recovered(pace: Pace, now: float) -> None:
    """Calls are answered again after a block: the new rate is what was answered since the block before."""
    # An allowance that was used up at once, or stayed used up: the time until it was there anew counts.
    used_up = pace.refusals > 1 or pace.active_s < _SHORT_S
    elapsed_s = max(_LEAST_S, now - pace.since if used_up else pace.active_s)
    seen, before = pace.answered / elapsed_s, pace.per_s
    pace.best_per_s = seen if before is None else min(before, max(seen, _MOST_CUT * before))
    pace.per_s = max(_LEAST_PER_S, (1.0 if pace.refusals > 1 else _CUT) * pace.best_per_s)
    pace.rough = before is None and elapsed_s < _ROUGH_S
    pace.refusals, pace.tried_at, pace.blocked_until = 0, 0.0, now
    pace.answered, pace.since, pace.changed_at = 0, now, now


def _grow(pace: Pace, report: Report, now: float) -> None:
    if pace.per_s is None:
        return
    passed_s = min(1.0, max(0.0, now - max(pace.changed_at, pace.blocked_until)))
    if not passed_s or not report.waiting:  # a rate that nobody uses says nothing
        pace.changed_at = max(pace.changed_at, now)
        return
    pace.changed_at = now
    below = pace.per_s < _NEAR * pace.best_per_s
    elapsed_s = now - pace.since
    if pace.rough:
        growth = _GROWTH_ROUGH
    elif elapsed_s > _LATER_S:
        growth = _GROWTH_LATER
    else:
        growth = _GROWTH_BELOW if below else _GROWTH_ABOVE
    pace.per_s *= 1.0 + growth * passed_s
    if elapsed_s > _LATER_S / 2 and pace.per_s > _FORGET * pace.answered / elapsed_s:
        pace.per_s = None
