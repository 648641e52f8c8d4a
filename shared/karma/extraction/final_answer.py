"""The answer that a text states: after `Answer:`, in a box, between tags, or after "the answer is"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from karma.extraction.markup import boxed, forms

# `Answer:`, in Markdown's marks or quotes, with a colon of any width. No letter or digit may precede it.
_LABEL = re.compile(r"(?<![^\W_])answer(?P<inner>[*_`\"'”’\s]{0,6})[:：]", re.IGNORECASE)
_HEADING = re.compile(
    r"[\s#>*_`•-]{0,12}(?:(?:the|my|our|final|correct|short) ){0,3}answer[\s*_`#]{0,12}", re.IGNORECASE
)
_DASHED = re.compile(_HEADING.pattern + r"\s[-–—]\s{1,3}(.{1,400})", re.IGNORECASE)
_OPENING = re.compile(r"([*_`\"'“‘«(\[{]{1,4})\s?(?:[^\W\d_]{1,10} ){0,3}\Z")
_OPENING_CHARACTERS = 60
_CLOSING = str.maketrans("“‘«([{", "”’»)]}")
_NO_VALUE = re.compile(r"[\s*_$`~-]*(?:(?<=```)[a-z]{1,12}\s*)?|\s{0,20}\\[(\[]\s{0,20}")
_BULLET = re.compile(r"\s*(?:[-*•>+]|#{1,6})\s+")
_TAGGED = re.compile(r"<answer>([^<]{1,10000})</answer>", re.IGNORECASE)
#: The last line of a solution in the form of GSM8K (Cobbe et al. 2021, arXiv 2110.14168).
_HASHES = re.compile(r"(?:\A|\n)####[ \t]{1,3}([^\n]{1,400})\s{0,20}\Z")
_SENTENCE = re.compile(r"(?<![^\W_])answer (?:is|was|=|equals)\s{0,3}[:：]?(?=(.{1,400}))", re.IGNORECASE)


@dataclass(frozen=True)
class Stated:
    """A stated answer; not `explicit` in a sentence, where the answer's end is not marked."""

    value: str
    explicit: bool = True


def stated_answers(text: str) -> list[Stated]:
    r"""The answers that count: the last `Answer:` and, if it stands after it, the last `\boxed{…}`.

    Without them, the last `<answer>…</answer>`, a last line `#### …`, or else the last sentence "the answer is …".
    Empty if there is none.
    """
    line, value = _labelled(text)
    found = [Stated(value)] if value is not None else []
    box = boxed(text)
    if box is not None and (value is None or text.count("\n", 0, box[0]) > line):
        found.append(Stated(box[1]))
    if found:
        return found
    tagged = _TAGGED.findall(text)
    if tagged:
        return [Stated(tagged[-1])]
    if hashes := _HASHES.search(text):
        return [Stated(hashes[1])]
    sentences = _SENTENCE.findall(text)
    return [Stated(sentences[-1], explicit=False)] if sentences else []


def readings(stated: Stated) -> list[str]:
    """The forms of a stated answer: as written, with less and less markup; also its box, and its first sentence."""
    found = list(forms(stated.value))
    box = boxed(stated.value)
    if box is not None:
        found += forms(box[1])
    if not stated.explicit:
        sentence = re.split(r"(?<=[.!?])\s", stated.value.strip(), maxsplit=1)[0]
        found += forms(sentence.rstrip("!?"))
    return found


def _labelled(text: str) -> tuple[int, str | None]:
    """The number of the last line that has an answer by a label, and the answer; (-1, None) if there is none."""
    lines = text.split("\n")
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        label = None
        for label in _LABEL.finditer(line):  # noqa: B007 - the last one counts
            pass
        if label is not None:
            value = _closed(line[label.end() :], "" if label["inner"].strip() else _opened(line[: label.start()]))
            if _NO_VALUE.fullmatch(value):
                number, value = _below(lines, number, _opened(line[: label.start()]))  # noqa: PLW2901
        elif _HEADING.fullmatch(line):
            number, value = _below(lines, number, "")  # noqa: PLW2901
        elif dashed := _DASHED.fullmatch(line):
            value = dashed[1]
        else:
            continue
        if value.strip():
            return number, value
    return -1, None


def _opened(before: str) -> str:
    """The marks that stand open before a label."""
    opening = _OPENING.search(before[-_OPENING_CHARACTERS:])
    return opening[1] if opening else ""


def _closed(value: str, opened: str) -> str:
    """The value without the marks that close those opened before its label."""
    closing, value = opened[::-1].translate(_CLOSING), value.strip()
    if closing and value.startswith(closing):
        return value[len(closing) :]
    bare = value.removesuffix(".").rstrip()
    return bare.removesuffix(closing) if closing and bare.endswith(closing) else value


def _below(lines: Sequence[str], number: int, opened: str) -> tuple[int, str]:
    """The first line with a value below a label, unless it has a label itself."""
    for below in range(number + 1, len(lines)):
        line = lines[below]
        if not _NO_VALUE.fullmatch(line):
            bullet = _BULLET.match(line)
            bare = line[bullet.end() :] if bullet else line
            return below, "" if _LABEL.search(line) or _HEADING.fullmatch(line) else _closed(bare, opened)
    return number, ""
