"""Structured logs: a line an event on stderr, JSON for machines or readable for people.

Modules log with the standard `logging`; `redaction` says what a line may hold. Lines written around a batch name it
(`bound`).
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
from karma.telemetry.redaction import OWN_PACKAGES, say, spell, tell_exception


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Within the block the package cannot be imported."""
    modules: dict[str, Any] = sys.modules
    before = modules.get(package)
    modules[package] = None  # which is how the import system is told
    try:
        yield
    finally:
        if before is None:
            del modules[package]
        else:
            modules[package] = before


# structlog imports rich where it finds it, to draw tracebacks that are plain here: 0.2 s and 4 MiB of every worker.
with _hidden("rich"):
    import structlog
    from structlog.contextvars import bound_contextvars, merge_contextvars
    from structlog.typing import EventDict, Processor

#: `auto`: text where stderr is a terminal, else JSON.
LOG_FORMATS = ("auto", "json", "text")

_MOST_IDS = 64  # named in one line

log = logging.getLogger(__name__)

_process: dict[str, str] = {}


def configure_logging(level: str, form: str = "auto", stream: TextIO | None = None) -> None:
    """Write this process's lines to stderr.

    Args:
        level: of KARMA's own lines; libraries' lines are written from `WARNING` on, whatever it is.
        form: of a line, one of `LOG_FORMATS`.
        stream: instead of stderr.

    Raises:
        SettingsError: no such level or form.
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
    """From now on every line says which worker it is from."""
    _process.update(service=service, worker=worker)


def bound(stage: str, batch: Batch) -> AbstractContextManager[None]:
    """Lines that are written within the block, by this thread and the tasks that it starts, name the batch."""
    prompts, pairs = prompts_of(batch), pairs_of(batch)
    return bound_contextvars(
        stage=stage,
        stream=batch.header.stream,
        batch=batch.header.batch,
        prompts=prompts[:_MOST_IDS],
        **({"pairs": pairs[:_MOST_IDS]} if pairs else {}),
    )


def prompts_of(batch: Batch) -> list[int]:
    """The numbers that the prompts of a batch have in the store, in the order of its items."""
    return list(dict.fromkeys(item.prompt for item in batch.items))


def pairs_of(batch: Batch) -> list[int]:
    """The numbers of the pairs of a batch; none where it is not about pairs."""
    return list(dict.fromkeys(pair for item in batch.items if (pair := getattr(item, "pair", 0))))


def _formatter(for_people: bool, colours: bool) -> logging.Formatter:
    render: list[Processor] = (
        [spell, structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)]
        if for_people
        else [structlog.processors.JSONRenderer()]  # ASCII only, so that no character in it can steer a terminal
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
            say,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            tell_exception,
            _arrange,
            *render,
        ],
    )


def _arrange(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """What every line has comes first, in one order."""
    first = {name: line.pop(name) for name in ("timestamp", "level", "logger", "event")}
    failure = {"exception": line.pop("exception")} if "exception" in line else {}
    return {**first, **_process, **line, **failure}


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; one that cannot be made leaves its place, where the standard library would print its arguments."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Say where it was."""
        place = (record.name, record.pathname, record.lineno)
        told = logging.LogRecord(
            log.name, logging.ERROR, __file__, 0, "a line of %s could not be written, at %s:%d", place, None
        )
        with suppress(OSError, ValueError):  # stderr itself is gone
            self.stream.write(f"{self.format(told)}{self.terminator}")
            self.flush()


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Where a warning came up, and of what kind; its text, like that of any library, may hold anything."""
    log.warning("%s at %s:%d", category.__name__, filename, lineno)


def _log_uncaught(kind: type[BaseException], error: BaseException, places: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, places)
    else:
        log.critical("the process ends by an error that nobody caught", exc_info=(kind, error, places))


def _log_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None:
        name = told.thread.name if told.thread else "?"
        log.critical("the thread %s ended by an error", name, exc_info=told.exc_value)


def _log_unraisable(told: Any) -> None:
    log.error("an error came up where none can be raised", exc_info=told.exc_value)
