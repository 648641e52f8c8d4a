"""Values of numerals: exact decimals, never floats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, DecimalException
from math import factorial

#: Relative rounding error up to which two numbers are equal, unless both are written as integers.
TOLERANCE = Decimal("1e-9")

_ARITHMETIC = Context(prec=60)
_MOST_POWER = 100
_MOST_FACTORIAL = 20

_COMMAS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_GROUPS = re.compile(r"\d{1,3}(?:(?P<mark>['’_\u202f])\d{3})(?:(?P=mark)\d{3})*(?:[.,]\d+)?")
_SPACES = re.compile(r"\d{1,3}(?: \d{3})+(?:[.,]\d+)?")
_POINTS = re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?")
_INDIAN = re.compile(r"\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?")
_PLAIN = re.compile(r"\d*\.?\d+")
_DECIMAL_COMMA = re.compile(r"\d+,\d+")
_GROUP_MARKS = re.compile("['’_\u202f ]")
_BLANK = re.compile("[ \u202f]")
_SEPARATORS = re.compile("[.,'’_]")


@dataclass(frozen=True)
class Number:
    """A value; `integer` if it is written as one, and then it equals another integer only exactly."""

    value: Decimal
    integer: bool

    def equals(self, other: Number) -> bool:
        """Whether the two are equal, up to `TOLERANCE` of the other's size unless both are integers."""
        if self.value == other.value or (self.integer and other.integer):
            return self.value == other.value
        try:
            difference = _ARITHMETIC.abs(_ARITHMETIC.subtract(self.value, other.value))
            return difference <= _ARITHMETIC.multiply(TOLERANCE, _ARITHMETIC.abs(other.value))
        except DecimalException:  # beyond the exponents of decimals: not nearly equal
            return False


#: The values of a numeral by the usual reading, and those by other readings.
Readings = tuple[tuple[Number, ...], tuple[Number, ...]]


def digits(body: str) -> Readings:
    """The values of digits with separators of thousands and decimals; a comma may be either."""
    if _PLAIN.fullmatch(body):
        found = _numbers(body), _numbers(body.replace(".", "")) if _POINTS.fullmatch(body) else ()
    elif _COMMAS.fullmatch(body):
        one = body.count(",") == 1 and "." not in body
        found = _numbers(body.replace(",", "")), _numbers(body.replace(",", ".")) if one else ()
    elif _INDIAN.fullmatch(body):
        found = _numbers(body.replace(",", "")), ()
    elif _GROUPS.fullmatch(body) or _SPACES.fullmatch(body):
        pieces = _GROUP_MARKS.split(body)
        certain, possible = digits("".join(pieces))
        found = certain, (*possible, *_numbers(pieces[-1].replace(",", ".")))
    elif _BLANK.search(body):  # numbers one after another: the last counts
        found = digits(_BLANK.split(body)[-1])
    else:
        found = (), _numbers(*_doubtful(body))
    return found


def _doubtful(body: str) -> list[str]:
    """The readings of digits with other separators, of which none is certain."""
    if _POINTS.fullmatch(body):
        return [body.replace(".", "").replace(",", ".")]
    last = _SEPARATORS.split(body)[-1]
    return [body.replace(",", "."), body.replace(",", ""), last] if _DECIMAL_COMMA.fullmatch(body) else [last]


def fraction(body: str, denominator: str) -> Readings:
    """The value of a fraction, also after a whole number."""
    pieces = body.split(" ")
    above, below = digits(pieces[-1])[0], digits(denominator)[0]
    if not above or not below or below[0].value == 0:
        return (), (*above, *below)
    value = _ARITHMETIC.divide(above[0].value, below[0].value)
    certain = (Number(value, False),)
    if len(pieces) == 2 and above[0].value < below[0].value and pieces[0].isdecimal():
        return (Number(_ARITHMETIC.add(Decimal(pieces[0]), value), False),), certain
    return certain, below


def powers(bases: Sequence[Number], power: int) -> tuple[Number, ...]:
    """The numbers to the power; none if it is above 100, because the result may be huge."""
    if abs(power) > _MOST_POWER:
        return ()
    return tuple(Number(_ARITHMETIC.power(base.value, power), False) for base in bases if base.value)


def factorials(bases: Sequence[Number]) -> tuple[Number, ...]:
    """The factorials of the whole numbers up to 20 among these."""
    whole = [base.value for base in bases if base.integer and 0 <= base.value <= _MOST_FACTORIAL]
    return tuple(Number(Decimal(factorial(int(value))), True) for value in whole)


def scaled(numbers: Sequence[Number], exponent: int) -> tuple[Number, ...]:
    """The numbers times ten to the exponent, all of their digits kept."""
    parts = [(number.value.as_tuple(), number.integer and exponent >= 0) for number in numbers]
    return tuple(
        Number(Decimal((sign, digits, int(shift) + exponent)), integer) for (sign, digits, shift), integer in parts
    )


def negated(numbers: Sequence[Number]) -> tuple[Number, ...]:
    """The numbers with the other sign, all of their digits kept."""
    return tuple(Number(number.value.copy_negate(), number.integer) for number in numbers)


def _numbers(*digits: str) -> tuple[Number, ...]:
    return tuple(Number(Decimal(each), "." not in each) for each in digits)
