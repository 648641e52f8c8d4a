"""`answer`: the text states the reference as its answer."""

import unicodedata

from karma.extraction.final_answer import Stated, readings, stated_answers
from karma.extraction.markup import answer_part, fold, forms

#: Marks at the ends of an answer that may be of its dress or of its value.
_DOUBTFUL_ENDS = " \t*_~`\"'“”‘’«»$\\|#:;!?()[]{}<>"


def answer(text: str, reference: str, /) -> bool | None:
    r"""Whether the text's last `Answer:` is followed by the reference; None if that cannot be read for certain.

    Reasoning before the answer, Markdown, LaTeX, quotes and a period around the answer are ignored, runs of white space
    count as one space, and the answer may stand on the next line. A box (`\boxed{…}`) after it, or without it, counts
    as well, and else a sentence "the answer is …". The case of letters counts, because the prompt may be about
    spelling. A text without any answer is wrong.
    """
    part, cut = answer_part(text)
    stated = stated_answers(part)
    if not stated:
        return None if cut else False
    right = [_is_right(each, reference) for each in stated]
    return right[0] if len(set(right)) == 1 else None


def _is_right(stated: Stated, reference: str) -> bool | None:
    found, wanted = readings(stated), set(forms(reference, math_only=True))
    if not wanted.isdisjoint(found):
        return True
    if {_loose(form) for form in found}.intersection(map(_loose, forms(reference))):
        return None
    # A longer sentence may contain the answer anywhere.
    return False if stated.explicit or len(found[-1].split()) <= len(fold(reference).split()) else None


def _loose(form: str) -> str:
    """A form under which different answers seldom are the same."""
    return unicodedata.normalize("NFKC", form).strip(_DOUBTFUL_ENDS)
