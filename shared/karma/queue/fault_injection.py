"""Fault points: boundaries between transaction, publication and release at which tests kill a process.

A test sets `KARMA_TEST_FAULTS` to a folder and arms a point by creating a file with the point's name in it. The first
process that reaches the point deletes the file and exits at once, as after SIGKILL. Without the variable a point costs
one comparison.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

_CLAIMED = ("received", "claimed")
_RELEASED = ("before_release", "after_release")
_ASKING = (*_CLAIMED, "before_publish", "after_publish", *_RELEASED)
_RECORDING = (*_CLAIMED, "before_commit", "after_commit", *_RELEASED)
_SENDING = ("after_publish", "after_mark")

#: Every point, by the service whose processes reach it; `ingest` runs in any process that enqueues.
POINTS: Final = {
    "ingest": ("ingest.before_commit", "ingest.after_commit"),
    "gateway": (
        *(f"dispatch.{name}" for name in ("before_commit", "after_commit", *_SENDING)),
        *(f"sweep.{name}" for name in ("after_fence", "before_commit", "after_commit", *_SENDING)),
        *(f"redeliver.{name}" for name in ("before_commit", "after_commit", "after_publish")),
    ),
    "generation": tuple(f"generate.{name}" for name in _ASKING),
    "scoring": (
        *(f"score.{name}" for name in (*_RECORDING, *_SENDING)),
        *(f"learn.{name}" for name in _RECORDING),
        "refit.before_commit",
        "refit.after_commit",
    ),
    "matching": tuple(f"match.{name}" for name in (*_RECORDING, *_SENDING)),
    "judging": tuple(f"judge.{name}" for name in _ASKING),
}

_KILLED = 137  # the exit status of a process that SIGKILL ended
_folder = os.environ.get("KARMA_TEST_FAULTS")


def reach(point: str) -> None:
    """Exit here if a test armed this point."""
    if _folder is None:
        return
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(_folder, point))
        os._exit(_KILLED)
