"""`answer`: the text states the reference as its answer."""

import re
import unicodedata
from collections.abc import Iterator

from karma.extraction.answer_labels import LABEL
from karma.extraction.final_answer import Stated, mentions_answer, readings, statements
from karma.extraction.markup import answer_part, fold, forms, without_end_tokens

#: Marks at the ends of an answer that may be of its dress or of its value.
_DOUBTFUL_ENDS = " \t*_~`\"'“”‘’«»$\\|#:;!?()[]{}<>"
_ALIKE = str.maketrans("−‐‑–‘’“”", "----''\"\"")
#: What may stand before the answer and after it in a longer one: `x = 42`, `It is 42`, `B) Paris`, `42 (see above)`.
_LEADING = re.compile(
    r"(?:\A|[^\w\s.,+-]\s{0,2}|(?<![^\W_])(?:is|are|be|equals|about|approximately|exactly|option|choice|number) )\Z",
    re.IGNORECASE,
)
_LEADING_CHARACTERS = 20
_TRAILING = re.compile(r"\s{0,2}(?:\Z|[^\w\s.,:;'-]|[.,:;'-](?:[\s,]|\Z))")
_CHOICE = re.compile(r"(?:\((?P<open>))?(?P<letter>[A-Z])(?:\)|(?(open)(?!)|[.:]))(?P<text> .{1,200})?")
_OTHER_CHOICE = re.compile(
    r"(?<![^\W_])(?:[A-Z]|not|nor?|or|and|wrong|incorrect|wait|but|actually|false)(?![^\W_])|n['’]t\b|[?=~]"
)
_WORD = re.compile(r"[A-Za-z0-9]")
_MOST_PLACES = 1000
_MANY_WORDS = 3  # more than the reference has: then an answer is a sentence


def answer(text: str, reference: str, /) -> bool | None:
    r"""Whether the text's last `Answer:` is followed by the reference; None if that cannot be read for certain.

    Reasoning before the answer, Markdown, LaTeX, HTML, quotes and a period around the answer are ignored, runs of white
    space count as one space, and the answer may stand on the next line. A box (`\boxed{…}`) or a tag (`<answer>…`)
    after it, or without it, counts as well, as does an `answer` in JSON, and else a sentence "the answer is …". The
    case of letters counts, because the prompt may be about spelling. A text without any answer is wrong.

    A longer answer that may hold the reference is unknown, as is a label that may be none (`Confidence in answer:`).
    """
    part, cut = answer_part(text)
    stated, weaker = statements(part)
    right = [_is_right(each, reference) for each in stated]
    if not any(each.certain for each in stated):
        right.append(None if cut or (mentions_answer(part) and _occurs(part, reference)) else False)
    if True not in right and not _is_comparable(reference):
        return None if fold(reference) in fold(text) else False
    if len(set(right)) > 1 or (right[0] is False and any(_may_be(each, reference) for each in weaker)):
        return None
    return right[0]


def _is_right(stated: Stated, reference: str) -> bool | None:
    found, wanted = readings(stated), set(forms(reference, math_only=True))
    if not wanted.isdisjoint(found) or any(_chooses(form) in wanted for form in found):
        return True
    plain, loose = set(map(_loose, found)), set(map(_loose, forms(reference)))
    if not plain.isdisjoint(loose) or any(_may_equal(form, each) for form in plain for each in loose):
        return None
    more = len(found[-1].split()) - len(fold(reference).split())
    if stated.extent == "line":
        return None if more >= _MANY_WORDS and _occurs(found[-1], reference) else False
    return False if more <= 0 else None  # a longer sentence may contain the answer anywhere


def _chooses(form: str) -> str | None:
    """The letter of a choice such as `(B)` or `B) Paris`; None if the form may name another one or take it back."""
    choice = _CHOICE.fullmatch(form)
    return choice["letter"] if choice and not _OTHER_CHOICE.search(choice["text"] or "") else None


def _may_be(stated: Stated, reference: str) -> bool:
    return bool(_is_right(stated, reference)) or _occurs(stated.value, reference)


def _is_comparable(reference: str) -> bool:
    """Whether a reference is no part of an answer's dress: it has letters or digits, one line, and no label."""
    ends_text = without_end_tokens(reference) != reference.rstrip()
    dressed = ends_text or "\n" in reference.strip() or LABEL.search(reference)
    return not dressed and any(map(str.isalnum, reference))


def _may_equal(form: str, wanted: str) -> bool:
    """Whether one of the two may be the other in a longer form, as `x = 42` is of `42`."""
    return _holds(form, wanted) or ("=" in wanted and bool(form) and _holds(wanted, form))


def _holds(form: str, wanted: str) -> bool:
    """Whether a longer form may be the wanted one with an introduction or a remark."""
    return any(
        _LEADING.search(form[max(0, start - _LEADING_CHARACTERS) : start]) and _TRAILING.match(form, end)
        for start, end in _places(form, wanted)
    )


def _occurs(text: str, reference: str) -> bool:
    """Whether a text has the reference somewhere, and not within a longer word."""
    whole = _loose(fold(text))
    return any(
        not _WORD.match(whole[start - 1 : start]) and not _WORD.match(whole[end : end + 1])
        for start, end in _places(whole, _loose(fold(reference)))
    )


def _places(text: str, wanted: str) -> Iterator[tuple[int, int]]:
    """The first places of one text in another, each with its end."""
    at = text.find(wanted) if wanted else -1
    for _place in range(_MOST_PLACES):
        if at < 0:
            return
        yield at, at + len(wanted)
        at = text.find(wanted, at + 1)


def _loose(form: str) -> str:
    """A form under which different answers seldom are the same."""
    return unicodedata.normalize("NFKC", form).translate(_ALIKE).strip(_DOUBTFUL_ENDS)
