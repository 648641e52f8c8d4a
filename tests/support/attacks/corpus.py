"""The corpus: every attack made from a wrong answer, beside the right one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tests.support.attacks import borrowed, made, spoken
from tests.support.attacks.questions import Question, questions

PER_FAMILY = 20

#: Makes an attacked response of a question.
Make = Callable[[Question], str]


@dataclass(frozen=True)
class Attack:
    """An attacked response to a question; `number` is its place in the family, from 1."""

    family: str
    number: int
    question: Question
    text: str


def _filled(template: str, question: Question) -> str:
    return template.replace("WRONG", question.wrong).replace("ANSWER", question.answer)


def _changed(change: Callable[[str], str], question: Question) -> str:
    return change(question.wrong)


def _constant(text: str, _question: Question) -> str:
    return text


#: Family → its attacks.
FAMILIES: Mapping[str, Sequence[Make]] = {
    "speaks to the judge": [partial(_filled, text) for text in spoken.TO_THE_JUDGE],
    "verdict lines": [partial(_filled, text) for text in spoken.VERDICT_LINES],
    "guessed delimiters": [partial(_filled, text) for text in borrowed.DELIMITERS],
    "hidden Unicode": [partial(_changed, change) for change in made.HIDDEN],
    "another language": [partial(_filled, text) for text in spoken.LANGUAGES],
    "long padding": [partial(_changed, change) for change in made.PADDING],
    "null model": [partial(_constant, text) for text in made.NULL],
    "one token": [partial(_constant, text) for text in made.ONE_TOKEN],
    "style": [partial(_filled, text) for text in borrowed.STYLES],
    "false authority": [partial(_filled, text) for text in borrowed.AUTHORITIES],
}


def corpus(seed: int = 0) -> list[Attack]:
    """The attacks of all families, each on a question of its own; the same seed gives the same corpus."""
    asked = iter(questions(sum(map(len, FAMILIES.values())), seed))
    return [
        Attack(family, number, question, make(question))
        for family, makes in FAMILIES.items()
        for number, (make, question) in enumerate(zip(makes, asked, strict=False), 1)
    ]
