"""Numbers in a text, in the ways in which people and models write them."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Literal

from karma.extraction.numbers import Number, Readings, digits, factorials, fraction, negated, powers, scaled

_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "lakh": 5, "crore": 7}

# Spelling that changes no value, in this order.
_REWRITTEN = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("[\u00ad\u200b-\u200f\u2060\ufeff]|\\\\!", ""),
        ("[\u00a0\u2006-\u200a\u202f]|\\\\[,;:]|(?<=\\d)(?:~|\\\\ )(?=\\d)", "\u202f"),
        ("[−–﹣－]", "-"),
        (r"(\\(?:text|math)[a-z]{0,3}\s{0,3}\{[^{}]{0,40}\})\s?[\^_]\s?\{?-?\d{1,3}\}?", r"\1"),  # of a unit
        (r"[ \u202f]?\\[dtc]?frac\s{0,3}\{(-?\d{1,400})\}\s{0,3}\{(\d{1,400})\}", r" \1/\2"),
        (r"[ \u202f]?\\[dtc]?frac\s{0,3}(\d)\s{0,3}(\d)", r" \1/\2"),
        (r"\{,\}", ","),
        (r"\\times(?![a-zA-Z])|\\cdot(?![a-zA-Z])", "×"),
        (r"\\div(?![a-zA-Z])", "÷"),
        (r"\\pm(?![a-zA-Z])", "±"),
        (r"\\(?=[%$€£])|\\left(?![a-zA-Z])|\\right(?![a-zA-Z])", ""),
        (r"([\^_])\{([^{}]{1,40})\}", r"\1\2"),
        (r"\\(?:boxed|fbox|text[a-z]{0,2}|math[a-z]{2}|operatorname)\s{0,3}\{", " {"),
        (r"(?<=\d)\*\*(?=-?\d)", "^"),
        (r"\*\*|`", ""),
        (r"[⁺⁻]?[⁰¹²³⁴-⁹]{1,40}", lambda found: "^" + unicodedata.normalize("NFKC", found[0]).replace("−", "-")),
        (r"[ \u202f]?[¼-¾⅐-⅞]", lambda found: " " + unicodedata.normalize("NFKC", found[0][-1]).replace("⁄", "/")),
        (r"(?<=[-+]) (?=\d{1,400}/)", ""),
        (r"(?<=-)[$€£¥₹](?=[\d.])", ""),
        ("٫", "."),
        ("٬", ","),
        ("[٪％]", "%"),
        (r"(?![0-9])\d", lambda found: str(unicodedata.decimal(found[0]))),
    )
)

_NUMERAL = re.compile(
    r"(?P<sign>(?<![^\W_])(?<![.)\]}])[-+](?:\s(?=[\d.]))?)?"
    r"(?P<body>(?:(?<![\w.])\.)?\d+(?:[.,'’_\u202f ]\d+)*)"
    r"(?:(?P<exponent>[eE][-+]?\d{1,9}(?!\w))"
    r"|\s?[×xX*·⋅∙•]\s?10\s?\^\s?\(?(?P<ten>[-+]?\d{1,9})\)?"
    r"|\s?\^\s?\(?(?P<power>[-+]?\d{1,9})\)?"
    r"|(?P<fraction>\s?[/⁄]\s?\d+(?:[.,]\d+)?(?!\d|\s?[/⁄]\s?\d))?)"
    r"(?P<after>\s?(?:%|(?i:per ?cent|hundred|thousand|million|billion|trillion|lakh|crore|dozen|squared|cubed)\b"
    r"|[π√十百千万萬億亿兆만억조]|\\(?:pi|sqrt)\b)|[A-Za-z]{1,20})?"
)
_UNREAD_BEFORE = re.compile(r"(?:√|(?<![A-Za-z])(?:sqrt|log|ln|sin|cos|tan|exp|[dtc]?frac))\s?[({\[]?\s?\Z|\}\{\s?\Z")
_NAME_BEFORE = re.compile(r"[A-Za-zα-ωΑ-Ω]_?\Z|[A-Za-z]\^\Z|\d\s?[:/⁄]\Z")
_POINTER_BEFORE = re.compile(
    r"(?:(?:steps?|fig(?:ure)?|eq(?:uation)?|section|page|table|chapter|(?:foot)?note|appendix|lemma|theorem|line)\.?"
    r"|(?:confidence|certainty)(?: level)?:?)\s?\Z",
    re.IGNORECASE,
)
#: An operation whose right side this is, or whose left side: the numeral is only a part of a result.
_BLANK = "[ \t\u202f]"
_VARIABLE = r"(?<![^\W\d_])[A-Za-z]"
_OPERATION_BEFORE = re.compile(
    rf"(?:\d%?|\)|{_VARIABLE})(?:{_BLANK}?[+×÷±⋅∙*]{_BLANK}?|{_BLANK}-{_BLANK}?|{_BLANK}minus{_BLANK})\Z"
    rf"|(?:\)|{_VARIABLE})-\Z|\d:\Z|\d{_BLANK}:{_BLANK}\Z|(?:%|/\d{{1,9}}|half){_BLANK}of(?: the)?{_BLANK}\Z"
    rf"|\d{_BLANK}(?:plus|times|over|divided by|multiplied by|to the power of){_BLANK}\Z",
    re.IGNORECASE,
)
_OPERATION_AFTER = re.compile(rf"{_BLANK}?[+×÷±⋅∙*]{_BLANK}?(?:[A-Za-z](?![^\W_])|[(√])")
#: The other end of a range, or the part of which this is the whole.
_RANGE_BEFORE = re.compile(r"(?:\d%?\s(?:to|through|until|(?:out )?of(?: the)?)|(?:b|B)etween\s[^\n]{1,20}\sand)\s\Z")
_RANGE_WORDS = ("to", "through", "until", "of", "the", "and")
_DASHED_BEFORE = re.compile(r"(?<![\w.,])(\d{1,20})-\Z")
_DATE = re.compile(r"(?<![\w-])(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2(?:\d{2}|\d{4}))(?![\w-])")
_NEGATED_BEFORE = re.compile(r"(?:(?<![^\W_])not|n['’]t|≠|!=|\\neq?)\s{0,2}\Z", re.IGNORECASE)
#: Words and marks that may change the sign.
_SIGN_BEFORE = re.compile(r"(?<![^\W_])(?:minus|negative)\s\Z|\|\Z", re.IGNORECASE)
_LINE_START = re.compile(r"(?:\A|\n)[\s>*-]{0,8}\Z")
_ENUMERATED = re.compile(r"[.)][ \t]+[^\s.]")
_BRACKETS = re.compile(r"\([^()\n]{1,200}\)|\[[^\[\]\n]{1,200}\]")
_UNREAD_AFTER = ("π", "√", "\\pi", "\\sqrt", "dozen", "squared", "cubed")
_LONGEST_BEFORE = 20
_RANGE_CHARACTERS = 40
_OPERATION_CHARACTERS = 24
_MOST = 300  # numerals of a text that are read: an answer stands at its end
#: Letters directly after a number that may multiply it, and by which power of ten.
_FACTORS = {"k": 3, "K": 3, "M": 6, "B": 9, "bn": 9, "T": 12} | dict.fromkeys("xyznie", 0)
_FACTORS |= {"十": 1, "百": 2, "千": 3, "万": 4, "萬": 4, "만": 4, "億": 8, "亿": 8, "억": 8, "兆": 12, "조": 12}


@dataclass(frozen=True)
class Numeral:
    """A number as it stands in a text.

    `certain` are its values by the usual reading (two of `50%`), `possible` those by other readings. `place` is `aside`
    where a numeral is rarely an answer: in brackets, of a list or of a step; `name` where it belongs to a name or unit,
    such as `H2O`. `unread`: a formula of which only this part was read; `operand` if that is because of an operation.
    """

    start: int
    end: int
    certain: tuple[Number, ...] = ()
    possible: tuple[Number, ...] = ()
    place: Literal["text", "aside", "name"] = "text"
    unread: bool = False
    operand: bool = False

    def equals(self, wanted: Sequence[Number]) -> bool | None:
        """Whether the numeral has one of these values; None if that depends on its reading."""
        if any(number.equals(value) for number in self.certain for value in wanted) and not self.unread:
            return True
        possible = any(number.equals(value) for number in self.possible for value in wanted)
        return None if possible or self.unread else False


def spelled(text: str) -> str:
    """The text in the spelling that `numerals` reads; positions in it are those of `Numeral`."""
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    return text


def numerals(text: str) -> list[Numeral]:
    """The numerals of a text in the spelling of `spelled`, in order; the last 300 of more."""
    matches = deque(_NUMERAL.finditer(text), _MOST)
    found = []
    for match, bracket, date in zip(
        matches, _around(matches, _BRACKETS, text), _around(matches, _DATE, text), strict=True
    ):
        inside = bracket is not None and (bracket[0][0] != "(" or bracket[0][1:-1].strip(" $") != match[0].strip())
        found.append(_read(text, match, inside, in_date=date is not None))
    return found


def _around(matches: Iterable[re.Match[str]], pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str] | None]:
    """For each match the place of the pattern in which it begins; None for a match outside of all."""
    places = pattern.finditer(text)
    place = next(places, None)
    for match in matches:
        while place is not None and place.end() <= match.start():
            place = next(places, None)
        yield place if place is not None and place.start() <= match.start() else None


def number_of(text: str) -> tuple[Number, ...]:
    """The values of a text that is one number, for example two of `50%`.

    Raises:
        ValueError: the text is no number, or its value is not certain.
    """
    bare = spelled(text.strip()).strip(" ${}()[]\\€£¥₹°#").removesuffix(".")
    found = numerals(bare)
    whole = len(found) == 1 and (found[0].start, found[0].end) == (0, len(bare))
    if not whole or found[0].unread or not found[0].certain or re.search(r"(?<!per)[A-Za-z]\Z", bare):
        raise ValueError(f"reference {text[:100]!r} is not a number")
    return found[0].certain


def _read(text: str, match: re.Match[str], inside: bool, in_date: bool) -> Numeral:
    start, end, after = match.start(), match.end(), (match["after"] or "").strip()
    before = text[max(0, start - _LONGEST_BEFORE) : start]
    operand = _is_operand(text, match, before)
    unread = operand or bool(_UNREAD_BEFORE.search(before)) or after in _UNREAD_AFTER
    place: Literal["text", "aside", "name"] = "text"
    if _NAME_BEFORE.search(before) or re.match(r":\d", text[end : end + 2]):
        place = "name"
    elif inside or _POINTER_BEFORE.search(before) or _enumerates(text, match, before):
        place = "aside"
    certain, possible = _values(match, after if after in _FACTORS else after.lower())
    if _SIGN_BEFORE.search(before) and (match["sign"] or not before.endswith("|")):
        certain, possible = (), (*certain, *possible, *negated(certain))
    elif in_date:
        certain, possible = (), tuple(number for part in re.findall(r"\d+", match[0]) for number in digits(part)[0])
    elif place == "name" or _NEGATED_BEFORE.search(before) or _ends_range(text, match):
        certain, possible = (), (*certain, *possible)
    if text.startswith("!", end):
        possible = (*possible, *factorials(certain))
    return Numeral(start, end, certain, possible, place, unread, operand)


def _is_operand(text: str, match: re.Match[str], before: str) -> bool:
    """Whether a numeral is only a part of a result, as 4 of `3x + 4`."""
    sign = match["sign"] or ""
    before = before[-_OPERATION_CHARACTERS:] + sign
    return bool(_OPERATION_BEFORE.search(before) or _OPERATION_AFTER.match(text, match.end()))


def _ends_range(text: str, match: re.Match[str]) -> bool:
    """Whether a numeral is the end of a range such as `10-12`, which goes up, or the whole of `4 out of 10`."""
    before = text[max(0, match.start() - _RANGE_CHARACTERS) : match.start()]
    if before.endswith("-"):
        dashed = _DASHED_BEFORE.search(before)
        return dashed is not None and match["body"].isdecimal() and int(dashed[1]) < int(match["body"][:20])
    return before[-1:].isspace() and before.rstrip().endswith(_RANGE_WORDS) and bool(_RANGE_BEFORE.search(before))


def _enumerates(text: str, match: re.Match[str], before: str) -> bool:
    """Whether a numeral numbers an item of a list."""
    return bool(_LINE_START.search(before) and _ENUMERATED.match(text, match.end("body")))


def _values(match: re.Match[str], after: str) -> Readings:
    """The certain and the other possible values of a numeral."""
    sign = match["sign"] or ""
    try:
        certain, possible = digits(match["body"])
        if match["exponent"] or match["ten"]:
            shift = int(match["ten"] or match["exponent"][1:])
            certain, possible = scaled(certain, shift), scaled(possible, shift)
        elif match["power"]:
            power = int(match["power"])
            possible = (*powers(certain, power), Number(Decimal(power), True), *certain)
            certain = ()
        elif match["fraction"]:
            certain, possible = fraction(match["body"], match["fraction"].strip(" \u202f\n/⁄"))
    except DecimalException:
        return (), ()
    if "-" in sign:
        negative, possible = negated(certain), (*possible, *negated(possible))
        # With a space it may be a dash.
        certain, possible = (negative, possible) if len(sign) == 1 else (certain, (*possible, *negative))
    if after == "%" or after.startswith("per"):
        certain, possible = (*certain, *scaled(certain, -2)), (*possible, *scaled(possible, -2))
    elif after in _SCALES:
        certain, possible = scaled(certain, _SCALES[after]), (*possible, *certain)
    elif after in _FACTORS:
        certain, possible = (), (*possible, *certain, *scaled(certain, _FACTORS[after]))
    return certain, possible
