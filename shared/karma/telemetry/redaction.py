"""Redaction of log lines: they contain no text of a prompt or a response, and no key.

- KARMA's own messages name objects by their ids. An error as an argument is replaced by its class, unless KARMA raised
  it: the text of any other error may quote a prompt.
- An exception is logged as classes and code locations, without variables; its text only by the same rule.
- A library's message is logged as its location and the first line of its constant format string, with numbers as
  arguments. Other arguments are replaced by their types; a message that is not a constant is left out.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from karma.errors import KarmaError

if TYPE_CHECKING:
    from structlog.typing import EventDict

#: KARMA's own packages. All others are libraries, plug-ins included.
OWN_PACKAGES = (
    "karma",
    "karma_cli",
    "karma_demo",
    "karma_gateway",
    "karma_generation",
    "karma_judging",
    "karma_matching",
    "karma_monitor",
    "karma_scoring",
)

_MOST_FRAMES = 40  # of one exception, the innermost
_MOST_CHARACTERS = 2000  # of one message


def fill_in(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Format the message with its redacted arguments; a structlog processor, like the other public functions."""
    arguments = line.pop("positional_args", None)
    own = str(line["logger"]).partition(".")[0] in OWN_PACKAGES
    if not own:
        record = line["_record"]
        line["at"] = f"{record.pathname}:{record.lineno}"
        if not _is_constant(record):
            return {**line, "event": "a library's message is withheld: it is not a constant"}
    redact = _own if own else _of_library
    if isinstance(arguments, dict):
        arguments = {name: redact(value) for name, value in arguments.items()}
    elif arguments:
        arguments = tuple(map(redact, arguments))
    message = line["event"] % arguments if arguments else line["event"]
    return {**line, "event": (message if own else message.partition("\n")[0])[:_MOST_CHARACTERS]}


def _is_constant(record: logging.LogRecord) -> bool:
    """Whether the message is a constant of the calling code, so that nothing was interpolated."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and (frame.f_code.co_filename, frame.f_lineno) != (record.pathname, record.lineno):
        frame = frame.f_back
    if frame is None:
        return False
    return record.msg in frame.f_code.co_consts or any(value is record.msg for value in frame.f_globals.values())


class _Withheld:
    """Replaces a value in a message by its type."""

    def __init__(self, value: object) -> None:
        self._type = type(value).__name__

    def __repr__(self) -> str:
        return f"<{self._type}>"


def _own(value: object) -> object:
    return _Withheld(value) if isinstance(value, BaseException) and _harmless_text(value) is None else value


def _of_library(value: object) -> object:
    return value if isinstance(value, int | float) else _Withheld(value)


def add_exception(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Add the exception of a line as `exception`, without texts that may quote a prompt."""
    line.pop("stack_info", None)
    info = line.pop("exc_info", None)
    if info and info[1] is not None:
        line["exception"] = exception_chain(info[1])
    return line


def exception_chain(error: BaseException) -> list[dict[str, Any]]:
    """An exception and its causes, last raised first: class, text if it is harmless, and frames.

    Frames are `FILE:LINE FUNCTION`, the innermost last.
    """
    chain: list[dict[str, Any]] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        kind = type(link)
        entry: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")}
        if (text := _harmless_text(link)) is not None:
            entry["message"] = text[:_MOST_CHARACTERS]
        entry["frames"] = _frames(link.__traceback__)
        if isinstance(link, BaseExceptionGroup):
            entry["exceptions"] = [exception_chain(part) for part in link.exceptions]
        chain.append(entry)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return chain


def _harmless_text(error: BaseException) -> str | None:
    if isinstance(error, KarmaError | NameError | ImportError):  # the last two quote names in code only
        return str(error)
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return os.strerror(error.errno)
    return None


def _frames(trace: TracebackType | None) -> list[str]:
    frames = [
        f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}" for frame, line in traceback.walk_tb(trace)
    ]
    return frames[-_MOST_FRAMES:]


def escape(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Escape control characters, for lines as text: no id or error can start a line or control the terminal."""
    escaped: EventDict = {name: _escaped(value) if isinstance(value, str) else value for name, value in line.items()}
    if "exception" in line:
        escaped["exception"] = "\n".join(_exception_lines(line["exception"]))
    return escaped


def _exception_lines(chain: list[dict[str, Any]], indent: str = "") -> list[str]:
    lines = []
    for index, entry in enumerate(chain):
        text = f": {_escaped(entry['message'])}" if "message" in entry else ""
        lines.append(f"{indent}{'caused by ' if index else ''}{entry['type']}{text}")
        lines += [f"{indent}  {_escaped(frame)}" for frame in entry["frames"]]
        for part in entry.get("exceptions", ()):
            lines += _exception_lines(part, f"{indent}    ")
    return lines


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
