"""What else the machine did while something was measured on it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.processes import cpu_by_name

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Load:
    """The load within a block; complete after it."""

    cores: int
    before: float = 0.0  # load averages over a minute
    after: float = 0.0
    others_cores: float = 0.0  # cores in use by processes that this one did not start, mean over the block

    def __str__(self) -> str:
        return (
            f"{self.cores} cores; load average {self.before:.2f} before, {self.after:.2f} after; "
            f"others used {self.others_cores:.2f} cores"
        )


def busy_s(line: str) -> float:
    """CPU seconds in use since the machine started, time stolen by other machines included: /proc/stat's first line."""
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = (
        int(field) for field in line.split()[1:9]
    )
    return (user + nice + system + interrupts + soft_interrupts + stolen) / _TICKS_PER_S


def _own_s() -> float:
    """CPU seconds of this process and all that it started, ended or not."""
    return sum(cpu_by_name(os.getpid()).values())


@contextmanager
def load() -> Iterator[Load]:
    """Watch the machine's load within the block."""
    seen = Load(len(os.sched_getaffinity(0)), before=os.getloadavg()[0])
    busy, own, started = _busy_now_s(), _own_s(), time.monotonic()
    yield seen
    seconds = time.monotonic() - started
    seen.others_cores = round(max(0.0, (_busy_now_s() - busy - (_own_s() - own)) / seconds), 3)
    seen.after = os.getloadavg()[0]


def _busy_now_s() -> float:
    return busy_s(Path("/proc/stat").read_text().partition("\n")[0])
