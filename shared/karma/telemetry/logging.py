"""Structured logs: one line per event on stderr, as JSON or as text.

Modules log with the standard `logging`; `redaction` removes texts of prompts. Lines within `bound` name their batch.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import Any, TextIO

from karma.errors import SettingsError
from karma.messages import Batch
from karma.telemetry.redaction import OWN_PACKAGES, add_exception, escape, fill_in


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Make the package impossible to import within the block."""
    modules: dict[str, Any] = sys.modules
    before = modules.get(package)
    modules[package] = None  # the import system raises ImportError for it
    try:
        yield
    finally:
        if before is None:
            del modules[package]
        else:
            modules[package] = before


# structlog imports rich if it can, for tracebacks that are plain here: 0.2 s and 4 MiB in every worker.
with _hidden("rich"):
    import structlog
    from structlog.contextvars import bound_contextvars, merge_contextvars
    from structlog.typing import EventDict, Processor

#: `auto`: text where stderr is a terminal, else JSON.
LOG_FORMATS = ("auto", "json", "text")

_MOST_IDS = 64  # in one line

log = logging.getLogger(__name__)

_process: dict[str, str] = {}


def configure_logging(level: str, form: str = "auto", stream: TextIO | None = None) -> None:
    """Write this process's log to stderr.

    Args:
        level: of KARMA's own lines; libraries log from `WARNING` on.
        form: one of `LOG_FORMATS`.
        stream: instead of stderr.

    Raises:
        SettingsError: the level or form does not exist.
    """
    if level not in logging.getLevelNamesMapping():
        raise SettingsError(f"environment: KARMA_LOG_LEVEL is {level!r}, expected DEBUG, INFO, WARNING or ERROR")
    if form not in LOG_FORMATS:
        raise SettingsError(f"environment: KARMA_LOG_FORMAT is {form!r}, expected {', '.join(LOG_FORMATS)}")
    out = sys.stderr if stream is None else stream
    handler = _Handler(out)
    handler.setFormatter(_formatter(out.isatty() if form == "auto" else form == "text", out.isatty()))
    numeric = logging.getLevelNamesMapping()[level]
    logging.basicConfig(level=max(numeric, logging.WARNING), handlers=[handler], force=True)
    for package in OWN_PACKAGES:
        logging.getLogger(package).setLevel(numeric)
    logging.captureWarnings(True)
    warnings.showwarning = _log_warning
    sys.excepthook, threading.excepthook, sys.unraisablehook = _log_uncaught, _log_thread, _log_unraisable


def name_process(service: str, worker: str) -> None:
    """Add the service and the worker to every further line."""
    _process.update(service=service, worker=worker)


def bound(stage: str, batch: Batch) -> AbstractContextManager[None]:
    """Add the batch to the lines that this thread, and tasks that it starts, log within the block."""
    prompts, pairs = prompts_of(batch), pairs_of(batch)
    return bound_contextvars(
        stage=stage,
        stream=batch.header.stream,
        batch=batch.header.batch,
        prompts=prompts[:_MOST_IDS],
        **({"pairs": pairs[:_MOST_IDS]} if pairs else {}),
    )


def prompts_of(batch: Batch) -> list[int]:
    """The store's ids of the prompts of a batch, in the order of its items."""
    return list(dict.fromkeys(item.prompt for item in batch.items))


def pairs_of(batch: Batch) -> list[int]:
    """The store's ids of the pairs of a batch; none if it is not about pairs."""
    return list(dict.fromkeys(pair for item in batch.items if (pair := getattr(item, "pair", 0))))


def _formatter(as_text: bool, colors: bool) -> logging.Formatter:
    render: list[Processor] = (
        [escape, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
        if as_text
        else [structlog.processors.JSONRenderer()]  # ASCII only, so that no character can control a terminal
    )
    return structlog.stdlib.ProcessorFormatter(
        use_get_message=False,
        pass_foreign_args=True,
        foreign_pre_chain=[
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            merge_contextvars,
        ],
        processors=[
            fill_in,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            add_exception,
            _arrange,
            *render,
        ],
    )


def _arrange(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Put the fields that every line has first, in a fixed order."""
    first = {name: line.pop(name) for name in ("timestamp", "level", "logger", "event")}
    failure = {"exception": line.pop("exception")} if "exception" in line else {}
    return {**first, **_process, **line, **failure}


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; logs the location of a line that cannot be formatted, where `logging` would print its arguments."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Log the location of a line that could not be formatted."""
        location = (record.name, record.pathname, record.lineno)
        failure = logging.LogRecord(
            log.name, logging.ERROR, __file__, 0, "a line of %s could not be written, at %s:%d", location, None
        )
        with suppress(OSError, ValueError):  # stderr is closed
            self.stream.write(f"{self.format(failure)}{self.terminator}")
            self.flush()


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log the class and location of a warning; its text may quote a prompt."""
    log.warning("%s at %s:%d", category.__name__, filename, lineno)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        log.critical("the process ends by an uncaught error", exc_info=(kind, error, trace))


def _log_thread(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None:
        name = failure.thread.name if failure.thread else "?"
        log.critical("the thread %s ended by an uncaught error", name, exc_info=failure.exc_value)


def _log_unraisable(failure: Any) -> None:
    log.error("an error occurred where it cannot be raised", exc_info=failure.exc_value)
