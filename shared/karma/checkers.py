"""Checkers: is a response right, given the reference answer of its prompt?

The verifier judge and the probes use them. Others are added under the entry-point group `karma.checkers`.
"""

import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Final, Protocol

ENTRY_POINT_GROUP: Final = "karma.checkers"

_ANSWER: Final = re.compile(r"^.*\banswer\s*:(.*)$", re.IGNORECASE | re.MULTILINE)
# A sign counts only where no word or digit stands before it: "7-3" holds 7 and 3, "is -3" holds minus three.
_NUMBER: Final = re.compile(r"(?:(?<![\w.)])[-+−])?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")


class Checker(Protocol):
    """Says whether the text of a response agrees with a reference answer."""

    def __call__(self, text: str, reference: str, /) -> bool:
        """Whether `text` is right."""
        ...


def answer(text: str, reference: str, /) -> bool:
    """Whether the last `Answer:` of the text is followed, on its line, by the reference.

    Runs of white space count as one space, a full stop at the end is ignored. Upper and lower case differ, since
    spelling may be what was asked for. A text without `Answer:` is wrong.
    """
    found = _ANSWER.findall(text)
    return bool(found) and _plain(found[-1]) == _plain(reference)


def exact(text: str, reference: str, /) -> bool:
    """Whether the whole text is the reference, white space at both ends aside."""
    return text.strip() == reference.strip()


def contains(text: str, reference: str, /) -> bool:
    """Whether the reference occurs in the text, upper or lower case; an empty reference never does."""
    wanted = _words(reference).casefold()
    return bool(wanted) and wanted in _words(text).casefold()


def number(text: str, reference: str, /) -> bool:
    """Whether the last number of the text equals the reference, up to a relative rounding error of 1e-9.

    Thousands may be grouped by commas. A text without a number is wrong. Raises ValueError when the reference is not
    a number, because then every response would be counted wrong in silence.
    """
    wanted = _NUMBER.fullmatch(reference.strip())
    if wanted is None:
        raise ValueError(f"reference {reference!r} is not a number; the checker 'number' needs one, such as '42'")
    found = _NUMBER.findall(text)
    if not found:
        return False
    expected, actual = _value(wanted.group()), _value(found[-1])
    return abs(actual - expected) <= 1e-9 * max(1.0, abs(expected))


BUILT_IN: Final[Mapping[str, Checker]] = {"answer": answer, "contains": contains, "exact": exact, "number": number}


def checker(name: str) -> Checker:
    """The checker of this name: a built-in one, or one that an installed package provides.

    Raises ValueError, with the known names, when there is none; TypeError when what a package provides under this
    name cannot be called.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    provided = entry_points(group=ENTRY_POINT_GROUP)
    if name not in provided.names:
        known = ", ".join(sorted({*BUILT_IN, *provided.names}))
        raise ValueError(
            f"unknown checker {name!r}; known are {known}. "
            f"A package adds one by an entry point in the group {ENTRY_POINT_GROUP!r}"
        )
    loaded = provided[name].load()
    if not callable(loaded):
        raise TypeError(
            f"checker {name!r} ({provided[name].value}) is a {type(loaded).__name__}; expected a function "
            "of a text and a reference that returns a bool"
        )
    found: Checker = loaded
    return found


def _words(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    return _words(text).removesuffix(".").rstrip()


def _value(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))
