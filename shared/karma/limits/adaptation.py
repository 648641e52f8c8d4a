"""How many calls an endpoint can use at once: the limit rises while throughput rises, and falls where it does not.

A server that is full does not refuse: its latency rises in proportion to its calls, and its throughput stays. So the
limit climbs the throughput, in steps of whole rounds of calls. Latency alone would mislead: a server that batches
(vLLM) answers more calls at once a little slower, and is faster by it.
"""

from __future__ import annotations

import math

from karma.limits.state import EndpointState, Report, Settings, Window

#: One step of the limit up and down.
_UP, _DOWN = 1.5, 0.75

#: The share of a step that throughput must follow: upward to go on, downward to go back.
_GAIN, _LOSS = 0.3, 0.2

#: Least change of the calls in progress that says anything.
_LEAST_STEP = 0.1

#: A step has at least this many rounds of calls, and this many seconds.
_ROUNDS = 2
_LEAST_S = 1.0
_LATENCIES = 3.0  # and this many mean latencies
_MOST_S = 30.0  # then half as many rounds are enough

#: Steps that a limit is kept until it is tried again.
_HOLD = 10

#: Weight of a new step in the throughput of a limit that is kept.
_NEW = 0.3


def observe(state: EndpointState, report: Report, demand: int, limited: bool, settings: Settings, now: float) -> None:
    """Count a report's calls, and move the limit at the end of a step.

    Args:
        state: the endpoint's.
        report: of one process.
        demand: calls in progress and waiting, of all processes.
        limited: whether something else than the limit held calls back.
        settings: the endpoint's.
        now: seconds of the clock of the state's times.
    """
    window = state.window
    state.slots = min(state.slots or settings.slots, settings.most_slots)
    if limited or demand < state.slots:
        _restart(window, now)
        return
    if now < window.began_at:
        return
    window.answered += report.answered
    window.latency_s += report.latency_s
    elapsed_s = now - window.began_at
    if not window.answered or not _is_long_enough(window, state.slots, elapsed_s):
        return
    mean_s, before = window.latency_s / window.answered, state.slots
    state.slots = _next(window, before, settings.most_slots, window.answered / elapsed_s, window.latency_s / elapsed_s)
    # Calls that began under the old limit end first.
    _restart(window, now if state.slots == before else now + mean_s)


def _is_long_enough(window: Window, slots: int, elapsed_s: float) -> bool:
    rounds = _ROUNDS if elapsed_s < _MOST_S else _ROUNDS / 2
    mean_s = window.latency_s / window.answered
    return window.answered >= rounds * slots and elapsed_s >= max(_LEAST_S, _LATENCIES * min(mean_s, _MOST_S))


def _next(window: Window, slots: int, most: int, per_s: float, at_once: float) -> int:
    """The limit of the next step, by its throughput and the mean number of calls in progress (Little's law)."""
    if not window.slots:
        window.slots, window.per_s, window.at_once = slots, per_s, at_once
        return _up(slots, most) if slots < most else slots
    if slots == window.slots:
        window.per_s += _NEW * (per_s - window.per_s)
        window.at_once += _NEW * (at_once - window.at_once)
        return _try_again(window, slots, most)
    step, change = at_once / window.at_once - 1.0, per_s / window.per_s - 1.0
    moved = step * (slots - window.slots) > 0 and abs(step) >= _LEAST_STEP
    if moved and change >= (_GAIN if step > 0 else _LOSS) * step:
        window.slots, window.per_s, window.at_once = slots, per_s, at_once
        return _up(slots, most) if step > 0 else _down(slots)
    window.hold = _HOLD
    return window.slots


def _try_again(window: Window, slots: int, most: int) -> int:
    """After a while, the limit is tried higher, and the next time lower."""
    if window.hold > 0:
        window.hold -= 1
        return slots
    window.steps_down = 1 - window.steps_down
    return _down(slots) if window.steps_down or slots >= most else _up(slots, most)


def _up(slots: int, most: int) -> int:
    return min(most, math.ceil(slots * _UP))


def _down(slots: int) -> int:
    return max(1, math.floor(slots * _DOWN))


def _restart(window: Window, now: float) -> None:
    window.began_at, window.answered, window.latency_s = now, 0, 0.0
