"""`number`: the last number of the text equals the reference."""

import re

# A sign counts only if no word or digit precedes it: "7-3" contains 7 and 3, "is -3" contains minus three.
_NUMBER = re.compile(r"(?:(?<![\w.)])[-+−])?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")


def number(text: str, reference: str, /) -> bool:
    """Whether the last number of the text equals the reference, up to a relative rounding error of 1e-9.

    Thousands may be grouped by commas. A text without a number is wrong.

    Raises:
        ValueError: the reference is not a number; every response would silently count as wrong.
    """
    wanted = _NUMBER.fullmatch(reference.strip())
    if wanted is None:
        raise ValueError(f"reference {reference!r} is not a number; the checker 'number' needs one, such as '42'")
    numbers = _NUMBER.findall(text)
    if not numbers:
        return False
    expected, actual = _value(wanted.group()), _value(numbers[-1])
    return abs(actual - expected) <= 1e-9 * max(1.0, abs(expected))


def _value(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))
