"""What a line of a log may hold: no text of a prompt or of a response, and no key.

- What KARMA itself says names things by their ids. An error within it is named by its class, unless KARMA raised it on
  purpose: any other text of an error may repeat what was being worked on.
- Of an exception a line holds the classes and the places that it passed, never a variable, and texts by the same rule.
- Of what a library says it holds the place and the first line as the library's code spells it, with the numbers filled
  in. Whatever else the library would fill in is named by its type; a text that it made up as it went is left out.
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

#: The packages whose lines are KARMA's own. All others are libraries, plug-ins included.
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
_MOST_CHARACTERS = 2000  # of what is said in one line


def say(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Fill in what was said; a processor of structlog, as the others here."""
    arguments = line.pop("positional_args", None)
    own = str(line["logger"]).partition(".")[0] in OWN_PACKAGES
    if not own:
        record = line["_record"]
        line["at"] = f"{record.pathname}:{record.lineno}"
        if not _is_spelled_in_code(record):
            return {**line, "event": "a library says what may hold anything"}
    show = _own if own else _of_library
    if isinstance(arguments, dict):
        arguments = {name: show(value) for name, value in arguments.items()}
    elif arguments:
        arguments = tuple(map(show, arguments))
    said = line["event"] % arguments if arguments else line["event"]
    return {**line, "event": (said if own else said.partition("\n")[0])[:_MOST_CHARACTERS]}


def _is_spelled_in_code(record: logging.LogRecord) -> bool:
    """Whether the code that logs holds the message as it stands, so that nothing was put into it."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and (frame.f_code.co_filename, frame.f_lineno) != (record.pathname, record.lineno):
        frame = frame.f_back
    if frame is None:
        return False
    return record.msg in frame.f_code.co_consts or any(one is record.msg for one in frame.f_globals.values())


class _Withheld:
    """Stands for what a library would have shown."""

    def __init__(self, value: object) -> None:
        self._type = type(value).__name__

    def __repr__(self) -> str:
        return f"<{self._type}>"


def _own(value: object) -> object:
    return _Withheld(value) if isinstance(value, BaseException) and _harmless_text(value) is None else value


def _of_library(value: object) -> object:
    return value if isinstance(value, int | float) else _Withheld(value)


def tell_exception(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Put the exception of a line into it."""
    line.pop("stack_info", None)
    info = line.pop("exc_info", None)
    if info and info[1] is not None:
        line["exception"] = exception_chain(info[1])
    return line


def exception_chain(error: BaseException) -> list[dict[str, Any]]:
    """An exception and what it came from, the last raised first: of each its class, its text where that is known to
    be harmless, and its places as `FILE:LINE FUNCTION`, the innermost last."""
    chain: list[dict[str, Any]] = []
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        told: dict[str, Any] = {"type": f"{type(one).__module__}.{type(one).__qualname__}".removeprefix("builtins.")}
        if (text := _harmless_text(one)) is not None:
            told["message"] = text[:_MOST_CHARACTERS]
        told["frames"] = _frames(one.__traceback__)
        if isinstance(one, BaseExceptionGroup):
            told["exceptions"] = [exception_chain(part) for part in one.exceptions]
        chain.append(told)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return chain


def _harmless_text(error: BaseException) -> str | None:
    if isinstance(error, KarmaError | NameError | ImportError):  # the latter two repeat names of the code
        return str(error)
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return os.strerror(error.errno)
    return None


def _frames(places: TracebackType | None) -> list[str]:
    frames = [
        f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}" for frame, line in traceback.walk_tb(places)
    ]
    return frames[-_MOST_FRAMES:]


def spell(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """For people: no character of an id or an error begins a line of its own or steers the terminal."""
    spelled: EventDict = {name: _spelled(value) if isinstance(value, str) else value for name, value in line.items()}
    if "exception" in line:
        spelled["exception"] = "\n".join(_told(line["exception"]))
    return spelled


def _told(chain: list[dict[str, Any]], indent: str = "") -> list[str]:
    lines = []
    for place, one in enumerate(chain):
        text = f": {_spelled(one['message'])}" if "message" in one else ""
        lines.append(f"{indent}{'because of ' if place else ''}{one['type']}{text}")
        lines += [f"{indent}  {_spelled(frame)}" for frame in one["frames"]]
        for part in one.get("exceptions", ()):
            lines += _told(part, f"{indent}    ")
    return lines


def _spelled(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
