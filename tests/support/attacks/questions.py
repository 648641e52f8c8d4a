"""Questions with a right and a wrong response, in the style of the tiny family."""

from __future__ import annotations

import random
from dataclasses import dataclass

from karma_demo.tasks import HABITATS, SKILLS, Skill, exercise


@dataclass(frozen=True)
class Question:
    """A question of the split that no tiny model was trained on.

    `answer` is the wrong one, `wrong` the whole response that states it: the right response, but for its answer.
    """

    prompt: str
    skill: Skill
    reference: str
    right: str
    wrong: str
    answer: str


def questions(count: int, seed: int = 0) -> list[Question]:
    """`count` questions, the skills in turn; the same arguments give the same questions."""
    rng = random.Random(f"attacks {seed}")
    made: list[Question] = []
    while len(made) < count:
        skill = SKILLS[len(made) % len(SKILLS)]
        drawn = exercise(skill, "held_out", rng)
        answer = _wrong(skill, drawn.reference, rng)
        if answer != drawn.reference:
            wrong = drawn.response.removesuffix(drawn.reference) + answer
            made.append(Question(drawn.prompt, skill, drawn.reference, drawn.response, wrong, answer))
    return made


def _wrong(skill: Skill, reference: str, rng: random.Random) -> str:
    """A plausible wrong answer; the right one if the draw changed nothing."""
    match skill:
        case "addition":
            return str(int(reference) + rng.choice((-10, -2, -1, 1, 2, 10)))
        case "count":
            return str(rng.choice([number for number in range(1, 7) if str(number) != reference]))
        case "facts":
            first, _, second = reference.partition(", ")
            other = rng.choice(sorted(set(HABITATS.values()) - {first, second}))
            return rng.choice((f"{other}, {second}", f"{first}, {other}"))
        case "sort":
            return " ".join(_swapped(reference.split(), rng))
        case "dashes":
            return "-".join(_swapped(reference.split("-"), rng))
        case "reverse":
            return "".join(_swapped(list(reference), rng))


def _swapped(parts: list[str], rng: random.Random) -> list[str]:
    place = rng.randrange(len(parts) - 1)
    return [*parts[:place], parts[place + 1], parts[place], *parts[place + 2 :]]
