"""`contains`: the reference occurs in the text."""

from karma.extraction.markup import fold
from karma.llm.reasoning import split_reasoning


def contains(text: str, reference: str, /) -> bool:
    """Whether the reference occurs in the text, in upper or lower case; an empty reference never does.

    Runs of white space count as one space. Reasoning before the answer does not count.
    """
    wanted = fold(reference).casefold()
    return bool(wanted) and wanted in fold(split_reasoning(text)[0]).casefold()
