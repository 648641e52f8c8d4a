"""When calls may begin: requests and tokens per minute, the endpoint's own words, and a rate learned from 429.

Beginnings are spaced evenly (the generic cell rate algorithm of ITU-T I.371, without bursts), and handed out at most
half a second ahead. So no minute has more calls than the limit, however many processes there are, and a limit that was
lost with Redis begins empty.
"""

from __future__ import annotations

import math

from karma.limits.state import Pace, Report, Settings

#: Seconds ahead that beginnings are handed out.
AHEAD_S = 0.5

#: The part of a configured limit that is used: calls arrive at an endpoint later than they begin, and not evenly so
#: (at .985, 605 of 600 arrived in one minute of sixteen workers).
_USED = 0.97

#: Refusals in a row, over all processes, after which an allowance counts as used up and nothing is called for a while.
_IN_A_ROW = 8
#: Seconds of that block, doubled with each further one; an endpoint's own word goes before.
_FIRST_BLOCK_S = 0.5
_MOST_BLOCK_S = 5.0
#: Seconds in which the call that tries first after a block would have been refused.
_TRY_S = 0.5

#: A rate is learned from windows of at least so many seconds and calls; or of so many seconds.
_WINDOW_S, _WINDOW_CALLS, _MOST_WINDOW_S = 2.0, 20, 10.0
#: In a window with refusals the rate falls to this share of the part that was answered; after a block at least to the
#: second of what it was, or to the fourth where an allowance took so many seconds to be used up and given anew.
_CUT, _MOST_CUT, _MOST_LATE_CUT, _LONG_CYCLE_S = 0.95, 0.5, 0.25, 30.0
#: Where so many lower rates leave more than this part of the refusals, they have another cause, and are borne.
_OTHER_CAUSE, _CUTS = 0.6, 3
#: Standard deviations by which refusals must exceed those that are borne.
_DEVIATIONS = 2.0
_BORNE, _BORNE_MORE = 1.5, 0.02
#: Calls at a lower rate of which at most one is refused where the rate is the cause (at 8 % in one of three hundred).
_CALM_CALLS = 100
#: Least rate that is learned, calls per second.
_LEAST_PER_S = 0.05
#: Growth of a learned rate per second: below the rate of the last refusals, above it, and long after them.
_GROWTH_BELOW, _GROWTH_ABOVE, _GROWTH_LATER = 0.04, 0.01, 0.03
#: The same after a first rate that may be far too low.
_GROWTH_ROUGH = 0.3
_NEAR = 0.97
_LATER_S = 60.0
#: A learned rate above this many times what is answered limits nothing, and is forgotten.
_FORGET = 4.0
#: Seconds without a report after which a window begins anew.
_PAUSE_S = 5.0


def observe(pace: Pace, report: Report, settings: Settings, now: float) -> None:
    """Learn from a report: a block, and a lower or a higher rate."""
    if now - pace.seen_at > _PAUSE_S:
        _begin_window(pace, now)
        _begin_cycle(pace, now)
    pace.seen_at = now
    pace.answered += report.answered
    pace.cycle_answered += report.answered
    pace.refused += report.refused
    pace.in_a_row = 0 if report.answered else pace.in_a_row + report.refused
    if report.token_correction and settings.tokens_per_minute:
        pace.token_at += report.token_correction * 60.0 / settings.tokens_per_minute / _USED
    if report.dropped and pace.request_at:
        pace.request_at = max(now, pace.request_at - report.dropped * _step_s(pace, settings))
    if report.wait_s and not report.failed:
        pace.blocked_until = max(pace.blocked_until, now + report.wait_s)
    if report.refused and (pace.in_a_row >= _IN_A_ROW or pace.tried_at):
        _used_up(pace, now)
    elif pace.refusals and pace.tried_at and (report.answered or now - pace.tried_at >= _TRY_S):
        _recovered(pace, now)
    elif not pace.refusals:
        _end_window(pace, now)
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


def _used_up(pace: Pace, now: float) -> None:
    if now < pace.blocked_until and not pace.tried_at:  # one of those that were in progress with the first
        return
    pace.refusals += 1
    pace.tried_at, pace.in_a_row = 0.0, 0
    block_s = min(_MOST_BLOCK_S, _FIRST_BLOCK_S * 2.0 ** min(pace.refusals - 1, 8))
    pace.blocked_until = max(pace.blocked_until, now + block_s)


def _recovered(pace: Pace, now: float) -> None:
    """Calls are answered again after a block: what was allowed was used up, until it was allowed anew.

    An allowance of a minute is what was answered from one such moment to the next, however fast it was used up.
    """
    cycle_s, before = now - pace.cycle_since, pace.per_s
    seen = pace.cycle_answered / max(0.5, cycle_s)
    most_cut = _MOST_CUT if cycle_s < _LONG_CYCLE_S else _MOST_LATE_CUT
    pace.rough = before is None and pace.refusals == 1
    _set(pace, seen if before is None else min(before, max(seen, most_cut * before)), now)
    pace.refusals, pace.tried_at, pace.blocked_until = 0, 0.0, now
    _begin_window(pace, now)
    _begin_cycle(pace, now)


def _end_window(pace: Pace, now: float) -> None:
    """At the end of a window with refusals, lower the rate, or find that they have another cause."""
    elapsed_s, calls = now - pace.since, pace.answered + pace.refused
    if elapsed_s < _WINDOW_S or (calls < _WINDOW_CALLS and elapsed_s < _MOST_WINDOW_S):
        return
    if pace.per_s is not None:
        _calm_down(pace, calls)
    share, borne = pace.refused / max(1, calls), pace.borne * calls
    if pace.refused <= max(1.0, borne + _DEVIATIONS * math.sqrt(borne)):
        pace.cuts = 0
    elif pace.cuts >= _CUTS and share > _OTHER_CAUSE * pace.cut_share:
        pace.borne, pace.cuts, pace.per_s = _BORNE * share + _BORNE_MORE, 0, pace.before_per_s
    else:
        before, pace.rough = pace.per_s, pace.per_s is None
        if not pace.cuts:
            pace.cut_share, pace.before_per_s = share, before
        pace.cuts += 1
        # Fewer were answered than the rate allowed also where fewer were asked, so that the share of refusals counts.
        _set(pace, _CUT * (pace.answered / elapsed_s if before is None else before * (1.0 - share)), now)
    _begin_window(pace, now)


def _calm_down(pace: Pace, calls: int) -> None:
    """Where hardly any call is refused at a lower rate, refusals are the rate's, and none are borne any more."""
    pace.calm_calls += calls
    pace.calm_refused += pace.refused
    if pace.calm_calls >= _CALM_CALLS:
        if pace.calm_refused <= 1:
            pace.borne = 0.0
        pace.calm_calls = pace.calm_refused = 0


def _set(pace: Pace, per_s: float, now: float) -> None:
    pace.calm_calls = pace.calm_refused = 0
    pace.per_s = pace.best_per_s = max(_LEAST_PER_S, per_s)
    pace.changed_at = pace.cut_at = now


def _begin_window(pace: Pace, now: float) -> None:
    pace.answered, pace.refused, pace.since = 0, 0, now


def _begin_cycle(pace: Pace, now: float) -> None:
    pace.cycle_answered, pace.cycle_since = 0, now


def _grow(pace: Pace, report: Report, now: float) -> None:
    if pace.per_s is None:
        return
    passed_s = min(1.0, max(0.0, now - max(pace.changed_at, pace.blocked_until)))
    if not passed_s or not report.waiting:  # a rate that nobody uses says nothing
        pace.changed_at = max(pace.changed_at, now)
        return
    pace.changed_at = now
    if pace.rough:
        growth = _GROWTH_ROUGH
    elif now - pace.cut_at > _LATER_S:
        growth = _GROWTH_LATER
    else:
        growth = _GROWTH_BELOW if pace.per_s < _NEAR * pace.best_per_s else _GROWTH_ABOVE
    pace.per_s *= 1.0 + growth * passed_s
    elapsed_s = now - pace.since
    if now - pace.cut_at > _LATER_S and elapsed_s > 1.0 and pace.per_s > _FORGET * (pace.answered + 1) / elapsed_s:
        pace.per_s = None
