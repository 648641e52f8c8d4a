"""`answer`: the last `Answer:` of the text is followed by the reference."""

import re

_ANSWER = re.compile(r"^.*\banswer\s*:(.*)$", re.IGNORECASE | re.MULTILINE)


def answer(text: str, reference: str, /) -> bool:
    """Whether the last `Answer:` of the text is followed, on its line, by the reference.

    Runs of white space count as one space, and a period at the end is ignored. The case of letters counts, because the
    prompt may be about spelling. A text without `Answer:` is wrong.
    """
    answers = _ANSWER.findall(text)
    return bool(answers) and _plain(answers[-1]) == _plain(reference)


def _plain(text: str) -> str:
    return " ".join(text.split()).removesuffix(".").rstrip()
