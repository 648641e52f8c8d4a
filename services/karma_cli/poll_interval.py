"""How long a command that waits for prompts pauses between two looks at the store."""

from __future__ import annotations

_SHORTEST_S, _LONGEST_S = 0.02, 0.2
_GROWTH = 1.5  # of the pause, while nothing ends
_LOOKS_SHARE = 0.2  # of the time, at most, that looking takes: counting many prompts is slow


class PollInterval:
    """Short pauses at the beginning and towards the expected end, so that the end is noticed soon; else long ones."""

    def __init__(self) -> None:
        self._pause_s = _SHORTEST_S
        self._ended = 0
        self._changed_at: float | None = None

    def after(self, now: float, ended: int, unfinished: int, took_s: float) -> float:
        """Seconds to pause after a look.

        Args:
            now: of a monotonic clock.
            ended: prompts that have ended.
            unfinished: all others.
            took_s: what the look took.
        """
        more = ended - self._ended
        if self._changed_at is None:
            self._changed_at = now
        elif more > 0:
            end_s = unfinished * (now - self._changed_at) / more
            self._pause_s = min(_LONGEST_S, max(_SHORTEST_S, end_s / 2))
            self._changed_at = now
        else:
            self._pause_s = min(_LONGEST_S, self._pause_s * _GROWTH)
        self._ended = ended
        return max(self._pause_s, took_s * (1 - _LOOKS_SHARE) / _LOOKS_SHARE)
