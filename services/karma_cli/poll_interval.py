"""How long a command that waits for prompts pauses between two looks at the store."""

from __future__ import annotations

_SHORTEST_S = 0.02
_LONGEST_S = 1.0
_LONGEST_SHOWN_S = 0.2  # where somebody sees the progress
_GROWTH = 1.5  # of the pause, while nothing ends
_LOOKS_SHARE = 0.2  # of the time, at most, that looking takes: counting many prompts is slow


class PollInterval:
    """Short pauses at the beginning and towards the expected end, so that the end is noticed soon; else long ones."""

    def __init__(self, is_shown: bool) -> None:
        """`is_shown`: whether the progress is drawn."""
        self._longest_s = _LONGEST_SHOWN_S if is_shown else _LONGEST_S
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
            self._pause_s = min(self._longest_s, max(_SHORTEST_S, end_s / 2))
            self._changed_at = now
        else:
            self._pause_s = min(self._longest_s, self._pause_s * _GROWTH)
        self._ended = ended
        return max(self._pause_s, took_s * (1 - _LOOKS_SHARE) / _LOOKS_SHARE)
