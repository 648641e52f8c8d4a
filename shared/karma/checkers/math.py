r"""`math`: the answer is mathematically equal to the reference, by math-verify (the extra `math`).

Plain numbers are read here, as math-verify 0.9 reads `10\,000` as 0 and takes 1.6e-19 for 9.1e-31. It runs in a process
of its own: its time limits need the main thread and cancel other alarms, and hostile expressions take long.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import IO, Any, cast

from karma.errors import MissingExtraError
from karma.extraction.final_answer import readings, stated_answers
from karma.extraction.markup import answer_part, boxed, fold, forms
from karma.extraction.numbers import Number
from karma.extraction.numerals import number_of, numerals, spelled

_MOST_CHARACTERS = 1_000
_MOST_DIGITS = 60  # in a row, in an expression; plain numbers may be longer
_START_S = 60.0
_ANSWER_S = 2.0  # scoring holds its batch meanwhile
_MEMORY_BYTES = 2 << 30
_TOLERANCE = 1e-6  # relative, between constants of which math-verify compares decimal places
_POINTS = (0.37, 1.91, -2.73)

_SPAN = re.compile(r"\$\$?([^$]{1,1000})\$\$?|\\\(([^$]{1,1000}?)\\\)|\\\[([^$]{1,1000}?)\\\]")
_GROUP_MARK = re.compile(r"(?<=\d)(?:\\[,;:! ]|\{,\}|[\u00a0\u2009\u202f'’]|,(?=\d{3}(?!\d)))(?=\d{3}(?!\d))")
_WORDS = re.compile(r"[^\W\d_]{2,}(?: [^\W\d_]+)*")


def math(text: str, reference: str, /) -> bool | None:
    """Whether the answer of the text is equal to the reference; None if one of them cannot be read for certain.

    The answer is the last `Answer:`, box, or formula of the text; or the whole text, if it is short.

    Raises:
        MissingExtraError: math-verify is needed and not installed.
    """
    part, cut = answer_part(text)
    found = _answer_in(part)
    if found is None:
        return None if cut or part.strip() else False
    wanted = list(forms(reference))[-1]
    number = _number(wanted)
    whole = [each for each in numerals(spelled(found)) if not each.operand]  # math-verify reads operations
    equal = {each.equals(number) for each in whole} if number else set()
    certain = _certain(found, wanted, _number(found), number)
    if certain is not None or None in equal:
        return certain
    pair = [_GROUP_MARK.sub("", each) for each in (wanted, found)]
    if any(len(each) > _MOST_CHARACTERS or re.search(rf"\d{{{_MOST_DIGITS}}}", each) for each in pair):
        return None
    right = _helper.compare(*pair)
    return None if right is False and True in equal else right  # such as `42 (see step 3)`


def _certain(found: str, wanted: str, number: Sequence[Number], reference_number: Sequence[Number]) -> bool | None:
    """Whether the two are equal, where they are the same text, plain numbers or words; else None."""
    if found == wanted:
        return True
    if number and reference_number:
        return any(one.equals(other) for one in number for other in reference_number)
    return found.casefold() == wanted.casefold() if _WORDS.fullmatch(found) and _WORDS.fullmatch(wanted) else None


def _answer_in(part: str) -> str | None:
    """The answer of a text without its markup; None if there is none, or none for certain."""
    stated = stated_answers(part)
    if not all(each.certain for each in stated):
        return None
    if stated:
        box = boxed(stated[-1].value)
        span = None if box else _last_span(stated[-1].value)
        return list(forms(box[1] if box else span or readings(stated[-1])[-1]))[-1]
    line = fold(part)
    return _last_span(part) or (list(forms(line))[-1] if 0 < len(line) <= 100 else None)


def _last_span(text: str) -> str | None:
    """The last formula between LaTeX's marks."""
    spans = [next(filter(None, groups)) for groups in _SPAN.findall(text)]
    return list(forms(spans[-1]))[-1] if spans else None


def _number(text: str) -> tuple[Number, ...]:
    try:
        return number_of(text)
    except ValueError:
        return ()


class _Helper:
    """The process that runs math-verify. It ends with this process, when its input ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def compare(self, reference: str, found: str) -> bool | None:
        """Whether the two are equal; None if math-verify cannot tell, also within its time and memory."""
        if find_spec("math_verify") is None:
            raise MissingExtraError("math-verify", "math", "the checker math")
        with self._lock:
            process = self._started()
            try:
                entry = cast(IO[bytes], process.stdin)
                entry.write(json.dumps([reference, found]).encode() + b"\n")
                entry.flush()
                return _line(process, _ANSWER_S)
            except (OSError, ValueError):  # it died, or took too long
                self._stop(process)
                return None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        code = f"import sys; sys.path[:] = {sys.path!r}; from karma.checkers.math import serve; serve()"
        process = subprocess.Popen(  # noqa: S603 - this interpreter and a fixed text
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._process, self._owner = process, os.getpid()
        atexit.register(lambda: self._stop(process) if self._owner == os.getpid() else None)
        try:
            _line(process, _START_S)
        except (OSError, ValueError):
            self._stop(process)
        return process

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None


def _line(process: subprocess.Popen[bytes], limit_s: float) -> bool | None:
    """The process's next line; raises TimeoutError, or ValueError if it ended."""
    results = cast(IO[bytes], process.stdout)
    if not select.select([results], [], [], limit_s)[0]:
        raise TimeoutError
    answer = json.loads(results.readline())
    return answer if isinstance(answer, bool) else None


_helper = _Helper()


def serve() -> None:
    """Answer comparisons, a JSON line each, until the input ends: this is the helper's process."""
    import logging
    import resource
    import signal

    from math_verify import parse, verify

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    logging.disable(logging.CRITICAL)

    def compared(reference: str, found: str) -> bool | None:
        # The parent has the time limit. Without marks a text would be searched for anything like a number.
        gold, answer = (parse(f"\\boxed{{{each}}}", parsing_timeout=None) for each in (reference, found))
        if len(gold) < 2 or len(answer) < 2:
            return None
        equal = bool(verify(gold, answer, timeout_seconds=None))
        different = _differ(gold[0], answer[0])
        if different is equal:  # the two contradict each other: of constants, the values are right
            return False if different and not (gold[0].free_symbols | answer[0].free_symbols) else None
        return equal

    sys.stdout.write("null\n")
    sys.stdout.flush()
    for line in sys.stdin:
        try:
            answer = compared(*json.loads(line))
        except Exception:  # whatever an expression makes of it, the next one is answered
            answer = None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _differ(one: Any, other: Any) -> bool | None:
    """Whether two expressions have different values, computed at some points; None if that says nothing."""
    from sympy import Expr

    if not isinstance(one, Expr) or not isinstance(other, Expr):
        return None
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    if len(symbols) > len(_POINTS):
        return None

    def values() -> Iterator[tuple[complex, complex]]:
        for shift in range(len(_POINTS)):
            points = {symbol: _POINTS[(at + shift) % len(_POINTS)] for at, symbol in enumerate(symbols)}
            yield complex(one.evalf(30, subs=points)), complex(other.evalf(30, subs=points))

    return any(abs(a - b) > _TOLERANCE * max(abs(a), abs(b)) for a, b in values())
