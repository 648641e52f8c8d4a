"""The answer that a text states: after `Answer:`, in a box, in JSON, between tags, or after "the answer is"."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from karma.extraction.answer_labels import ANSWER, DASHED, HEADING, LABEL, is_certain
from karma.extraction.markup import boxed, forms, without_tags
from karma.extraction.objects import answer_in_object

_OPENING = re.compile(r"([*_`\"'“‘«(\[{]{1,4})\s?(?:[^\W\d_]{1,10} ){0,3}\Z")
_OPENING_CHARACTERS = 60
_CLOSING = str.maketrans("“‘«([{", "”’»)]}")
_NO_VALUE = re.compile(r"[\s*_$`~-]*(?:(?<=```)[a-z]{1,12}\s*)?|\s{0,20}\\[(\[]\s{0,20}")
_BULLET = re.compile(r"\s*(?:[-*•>+]|#{1,6})\s+")
_TAGGED = re.compile(
    r"(?<!`)<(?:final[_ -]?)?answer>(?P<value>(?:(?!</?(?:final[_ -]?)?answer>).)*)(?P<end></(?:final[_ -]?)?answer>)?",
    re.IGNORECASE | re.DOTALL,
)
#: The last line of a solution in the form of GSM8K (Cobbe et al. 2021, arXiv 2110.14168).
_HASHES = re.compile(r"(?:\A|\n)####[ \t]{1,3}([^\n]{1,400})\s{0,20}\Z")
_HASH_LINE = re.compile(r"^####[ \t]{1,3}([^\n]{1,400})", re.MULTILINE)
#: Not in a sentence about the answer, such as "the answer is exact".
_SENTENCE = re.compile(
    r"answer(?<![^\W_]answer) (?:is|was|=|equals)\s{0,3}[:：]?"
    r"(?!\s{0,3}(?:based|clear|consistent|correct|derived|exact|expressed|found|given|obtained|obvious|reasonable|rounded"
    r"|simplified|unique|verified|written)\b)(?=(.{1,400}))",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s")
_MENTION = re.compile(
    rf"(?<![^\W_])(?:answer|solution|result|lösung)(?![^\W_])|{ANSWER}|\\boxed|(?:\A|\n)####", re.IGNORECASE
)
_MOST_DOUBTFUL = 8


@dataclass(frozen=True)
class Stated:
    """A stated answer; not `certain` where it may be none, as in `Confidence in answer: high`.

    It is a whole `line`, or begins with a `sentence` that is the answer, or it is the first line of a `paragraph` that
    may be an explanation.
    """

    value: str
    extent: Literal["line", "sentence", "paragraph"] = "line"
    certain: bool = True


#: The number of a line and the answer that it states.
_Placed = tuple[int, Stated]


def stated_answers(text: str) -> list[Stated]:
    r"""The answers that count: the last after `Answer:` or in JSON, and the last box and tag after it.

    Those after a doubtful label count as well. Without any, a last line `#### …`, or else the last sentence "the answer
    is …". Empty if there is none.
    """
    return statements(text)[0]


def statements(text: str) -> tuple[list[Stated], list[Stated]]:
    """The answers that count, and lines and sentences after them that may state another one."""
    placed: list[_Placed] = []
    if found := answer_in_object(text):
        value, start, end, certain = found
        placed.append((text.count("\n", 0, end), Stated(value, certain=certain)))
        text = text[:start] + "\n" * text.count("\n", start, end) + text[end:]
    placed += _labelled(text)
    base = _last_certain(placed)
    placed += [(line, each) for line, each in (*_boxed(text), *_tagged(text)) if line > base]
    counting = [each for line, each in placed if line >= base]
    last, hashed, sentences = _last_certain(placed), _hashed(text), _sentences(text)
    if last >= 0:
        return counting, [each for line, each in (*hashed, *sentences) if line > last]
    if ending := _HASHES.search(text):
        return [*counting, Stated(ending[1])], []
    return [*counting, *(each for _line, each in sentences)], [each for _line, each in hashed]


def readings(stated: Stated) -> list[str]:
    """The forms of a stated answer: as written, with less and less markup; also its box, and its first sentence."""
    found = list(forms(stated.value))
    box = boxed(stated.value)
    if box is not None:
        found += forms(box[1])
    inner = _sentences(stated.value) or [(0, stated)]
    if inner[0][1].extent == "sentence":
        found += forms(first_sentence(inner[0][1].value).rstrip("!?"))
    return found


def first_sentence(text: str) -> str:
    """The text up to the end of its first sentence."""
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0]


def mentions_answer(text: str) -> bool:
    """Whether a text speaks of an answer, in any of many languages: it may state one in an unknown form."""
    return bool(_MENTION.search(text))


def _last_certain(placed: Iterable[_Placed]) -> int:
    """The last line with a certain answer; -1 if there is none."""
    return max((line for line, each in placed if each.certain), default=-1)


def _sentences(text: str) -> list[_Placed]:
    """What follows "the answer is" in the last such sentence, with its line; empty if there is none."""
    return [
        (text.count("\n", 0, each.start(1)), Stated(_closed(each[1], _opened(_line_before(text, each))), "sentence"))
        for each in deque(_SENTENCE.finditer(text), 1)
    ]


def _hashed(text: str) -> list[_Placed]:
    """The last line `#### …`, which may be a heading; empty if there is none."""
    return [(text.count("\n", 0, each.start(1)), Stated(each[1])) for each in deque(_HASH_LINE.finditer(text), 1)]


def _line_before(text: str, found: re.Match[str]) -> str:
    return text[text.rfind("\n", 0, found.start()) + 1 : found.start()]


def _boxed(text: str) -> list[_Placed]:
    """The line and content of the last box; empty if there is none."""
    box = boxed(text)
    return [(text.count("\n", 0, box[0]), Stated(box[1]))] if box else []


def _tagged(text: str) -> list[_Placed]:
    """The line and content of the last `<answer>` that is closed, or else of the last one; empty if there is none."""
    found = []
    for tag in _TAGGED.finditer(text):
        value = tag["value"].strip() if tag["end"] else tag["value"].strip().partition("\n")[0]
        if value and not LABEL.search(value):
            line = text.count("\n", 0, tag.start("value") + tag["value"].index(value) + len(value))
            found.append((bool(tag["end"]), line, Stated(value, "line" if tag["end"] else "sentence")))
    last = [each for each in found if each[0]][-1:] or found[-1:]
    return [(line, stated) for _closed, line, stated in last]


def _labelled(text: str) -> list[_Placed]:
    """The lines and answers of the last certain label and of the doubtful ones after it, the last one first."""
    lines = text.split("\n")
    found: list[_Placed] = []
    for number in range(len(lines) - 1, -1, -1):
        for line, stated in _labelled_by(lines, number):
            found.append((line, stated))
            if stated.certain or len(found) == _MOST_DOUBTFUL:
                return found
    return found


def _labelled_by(lines: Sequence[str], number: int) -> Iterator[_Placed]:
    """The answers by the labels of a line, each with the line where it stands, the last one first."""
    line = lines[number]
    labels = deque(LABEL.finditer(line) if ":" in line or "：" in line else (), _MOST_DOUBTFUL)
    for label in reversed(labels):
        opened = "" if label["inner"].strip() else _opened(line[: label.start()])
        place, value = number, _closed(line[label.end() :], opened)
        if _NO_VALUE.fullmatch(without_tags(value)):
            place, value = _below(lines, number, _opened(line[: label.start()]))
        if value.strip():
            in_sentence = label["verb"] is not None or bool(_SENTENCE.search(value))
            extent: Literal["line", "sentence", "paragraph"] = "sentence" if in_sentence else "line"
            yield place, Stated(value, extent if place == number else "paragraph", is_certain(line, label))
    if not labels and HEADING.fullmatch(without_tags(line)):
        place, value = _below(lines, number, "")
        if value.strip():
            yield place, Stated(value, "paragraph")
    elif not labels and (dashed := DASHED.fullmatch(line)):
        yield number, Stated(dashed[1])


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
        if not _NO_VALUE.fullmatch(without_tags(line)):
            bullet = _BULLET.match(line)
            bare = line[bullet.end() :] if bullet else line
            return below, "" if LABEL.search(line) or HEADING.fullmatch(line) else _closed(bare, opened)
    return number, ""
