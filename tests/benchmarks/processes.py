"""CPU time and memory of processes and their descendants, as the kernel counts them."""

from __future__ import annotations

import os
import resource
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SERVICES = ("gateway", "generation", "judging", "matching", "page", "scoring")
_GONE = (FileNotFoundError, ProcessLookupError)


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds that processes have used, their kernel time included."""
    return sum(sum(_ticks(pid)[:2]) for pid in pids) / _TICKS_PER_S


def ended_cpu_s() -> float:
    """CPU seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _ticks(pid: int) -> tuple[int, int, int, int]:
    """User and kernel time of a process, and of its children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    user, kernel, of_children, kernel_of_children = (int(field) for field in fields[11:15])
    return user, kernel, of_children, kernel_of_children


def descendants(*roots: int) -> list[int]:
    """The processes themselves and all that they started, directly or not, which have not ended."""
    children: dict[int, list[int]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(*_GONE):
            children[int(path.read_text().rsplit(")", 1)[1].split()[1])].append(int(path.parent.name))
    found, open_ = [], list(roots)
    while open_:
        pid = open_.pop()
        found.append(pid)
        open_ += children[pid]
    return found


def named(arguments: Sequence[str], comm: str = "") -> str:
    """What a process is called in tables, by its command line and short name: a worker's service, a server's kind."""
    if comm.startswith("karma "):  # forked from the template, whose command line it shows; Linux cuts its own name
        return next(service for service in _SERVICES if f"karma {service}".startswith(comm))
    if "karma.run" in arguments[:-1]:
        return arguments[arguments.index("karma.run") + 1]
    if "karma.worker.template" in arguments:
        return "template"
    program = Path(arguments[0].split(":", 1)[0]).name if arguments and arguments[0] else "unknown"
    for server, words in (("redis", ("redis", "valkey")), ("postgresql", ("postgres",))):
        if program.startswith(words):
            return server
    return "supervisor" if "up" in arguments else program


def name_of(pid: int) -> str:
    """The name of a process."""
    folder = Path(f"/proc/{pid}")
    arguments = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    return named(arguments, (folder / "comm").read_text(errors="replace").rstrip("\n"))


def cpu_by_name(*roots: int) -> dict[str, float]:
    """CPU seconds by name of process, over the roots and their descendants; a process that ended counts as its
    parent's."""
    used: dict[str, float] = defaultdict(float)
    for pid in descendants(*roots):
        with suppress(*_GONE):
            used[name_of(pid)] += sum(_ticks(pid)) / _TICKS_PER_S
    return dict(used)


def rss_mb(pid: int) -> float:
    """Memory of a process that is its own or shared, MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)


def pss_mb(*roots: int) -> float:
    """Memory of processes and their descendants, MB, where what several share is counted once (`Pss`)."""
    total = 0
    for pid in descendants(*roots):
        with suppress(*_GONE):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return round(total / 1024, 1)


@dataclass
class Peak:
    """The most memory that was seen, MB."""

    pss_mb: float = 0.0


@contextmanager
def peak_memory(*roots: int, every_s: float = 0.5) -> Iterator[Peak]:
    """Look at the memory of processes and their descendants within the block, now and then and at its end."""
    peak, stop = Peak(), threading.Event()

    def look() -> None:
        peak.pss_mb = max(peak.pss_mb, pss_mb(*roots))

    def run() -> None:
        look()
        while not stop.wait(every_s):
            look()

    thread = threading.Thread(target=run, name="memory", daemon=True)
    thread.start()
    try:
        yield peak
        look()
    finally:
        stop.set()
        thread.join()
