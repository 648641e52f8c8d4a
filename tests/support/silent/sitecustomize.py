"""In every process that has this folder on its path KARMA's metrics can be switched off and on while it runs.

SIGUSR1: nothing is counted, measured or read for a metric any more. SIGUSR2: everything is again; the CPU time that
it takes is then served as `karma_inside_metrics_seconds`. Python imports a module of this name when it starts;
`karma.telemetry.logging.configure_logging` is what every worker calls first, once all its modules are there.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import prometheus_client

import karma.telemetry.logging
from karma.telemetry import bounded_metrics as series

_configure_logging = karma.telemetry.logging.configure_logging


class Nothing:
    """A child of any metric."""

    def inc(self, amount: float = 1) -> None: ...
    def dec(self, amount: float = 1) -> None: ...
    def set(self, value: float) -> None: ...
    def observe(self, amount: float) -> None: ...
    def track_inprogress(self) -> Any:
        return nullcontext()


def nothing(*_arguments: Any, **_named: Any) -> None:
    """Whatever it stands for, it is not done."""


class Stopwatch:
    """CPU time inside of functions; what they call of each other counts once."""

    def __init__(self) -> None:
        self._inside = threading.local()
        self.ns = 0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, measured."""

        def measured(*arguments: Any, **named: Any) -> Any:
            if getattr(self._inside, "now", False):
                return function(*arguments, **named)
            self._inside.now = True
            started = time.thread_time_ns()
            try:
                return function(*arguments, **named)
            finally:
                self.ns += time.thread_time_ns() - started
                self._inside.now = False

        return measured


def replacements() -> list[tuple[Any, str, Any]]:
    """What is replaced by what in this process: (where, attribute, silent)."""
    child = Nothing()

    def labels(*_values: Any, **_named: Any) -> Nothing:
        return child

    found: list[tuple[Any, str, Any]] = [
        (series.Counter, "labels", labels),
        (series.Gauge, "labels", labels),
        (series.Histogram, "labels", labels),
        (series.Counter, "inc", nothing),
        (series.Gauge, "set", nothing),
        (series.Histogram, "observe", nothing),
    ]
    if matching := sys.modules.get("karma_matching.worker"):
        found.append((matching, "observe", nothing))
    if recorded := sys.modules.get("karma_scoring.recorded_metrics"):
        found += [(recorded.ScoringMetrics, name, nothing) for name in ("scored", "learned")]
    if ledger := sys.modules.get("karma_monitor.prometheus"):
        found.append((ledger.LedgerMetrics, "_do", nothing))
    return found


def configure_logging(level: str, form: str = "auto") -> None:
    """What it was; and from now on the signals are answered."""
    _configure_logging(level, form)
    watch, silent = Stopwatch(), replacements()
    loud = [(where, name, watch.timed(getattr(where, name))) for where, name, _silent in silent]
    served = prometheus_client.Gauge("karma_inside_metrics_seconds", "CPU time that metrics took.")
    served.set_function(lambda: watch.ns / 1e9)

    def switch(number: int, _frame: Any) -> None:
        for where, name, value in silent if number == signal.SIGUSR1 else loud:
            setattr(where, name, value)

    signal.signal(signal.SIGUSR1, switch)
    signal.signal(signal.SIGUSR2, switch)


karma.telemetry.logging.configure_logging = configure_logging
