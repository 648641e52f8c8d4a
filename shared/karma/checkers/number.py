"""`number`: the last number of the text equals the reference."""

import re
from collections.abc import Sequence

from karma.errors import UnreadableReferenceError
from karma.extraction.final_answer import first_sentence, stated_answers
from karma.extraction.markup import MOST_CHARACTERS, answer_part
from karma.extraction.numbers import Number
from karma.extraction.numerals import Numeral, number_of, numerals, spelled

_DIGITS = "零〇一二三四五六七八九十百千万萬億亿兆两兩"
_WORDS = re.compile(
    r"\b(?:zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|half|(?:thir|four|fif|six|seven|eigh|nine)"
    r"teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million|billion)\b|\A\W*one\W*\Z"
    r"|\b(?:an?|one) (?:third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth)\b"
    rf"|[{_DIGITS}]{{2}}|(?:\A|[是为為\s:：])[{_DIGITS}](?:\W|\Z)|[π∞]|\\(?:pi|infty)\b",
    re.IGNORECASE,
)


def number(text: str, reference: str, /) -> bool | None:
    """Whether the last number of the text equals the reference; None if that depends on how the text is read.

    Integers are compared exactly, other numbers up to a relative rounding error of 1e-9. Grouped thousands, fractions,
    percentages (`50%` is 0.5 and 50), powers of ten, LaTeX and the digits of all scripts are read. Numbers in brackets,
    of lists and of steps count only if there is no other. `3,5` and `2²` can be read in two ways: they never count as
    wrong for a reference that one of these gives, nor as right. A text without a number is wrong.

    Raises:
        UnreadableReferenceError: the reference is not a number; every response would silently count as wrong.
    """
    if len(reference) > MOST_CHARACTERS:
        size = f"the reference has {len(reference)} characters"
        raise UnreadableReferenceError(f"{size}; a number has at most {MOST_CHARACTERS}")
    try:
        wanted = number_of(reference)
    except ValueError as cause:
        raise UnreadableReferenceError(f"{cause}; the checker 'number' needs one, such as '42'") from None
    part, cut = answer_part(text)
    whole = spelled(part)
    found = numerals(whole)
    if cut and (not found or found[0].start == 0):  # a number may be cut
        return None
    right = _last_equals(found, wanted)
    if right is False and _WORDS.search(whole, found[-1].end if found else 0):
        right = None
    stated = [numerals(spelled(first_sentence(each.value))) for each in stated_answers(part)]
    return right if all(_last_equals(each, wanted) is right for each in stated if each) else None


def _last_equals(found: Sequence[Numeral], wanted: Sequence[Number]) -> bool | None:
    """Whether the last numeral with a certain value equals the reference, and none after it gives rise to doubt."""
    last = _last(found, ("text",))
    if last is None:
        last = _last(found, ("text", "aside"))
    if last is None:
        return None if any(each.equals(wanted) is not False for each in found) else False
    right = found[last].equals(wanted)
    later = [each.equals(wanted) for each in found[last + 1 :] if right is not True or each.place == "text"]
    return right if all(each is right for each in later) else None


def _last(found: Sequence[Numeral], places: Sequence[str]) -> int | None:
    """The index of the last numeral at one of the places whose value is certain."""
    sure = [n for n, each in enumerate(found) if each.place in places and each.certain and not each.unread]
    return sure[-1] if sure else None
