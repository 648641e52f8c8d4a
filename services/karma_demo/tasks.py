"""Six verifiable skills: tasks with reference answers, and exercises with worked solutions.

A task's *payload* is its content (two numbers, a word, two creatures) without the wording. A hash of the payload
decides its split, so that training never sees the payload of a held-out or demo task in any wording.
"""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Split = Literal["train", "held_out", "demo"]
Skill = Literal["addition", "reverse", "sort", "dashes", "count", "facts"]

SKILLS: Final[tuple[Skill, ...]] = get_args(Skill)
SPLITS: Final[tuple[Split, ...]] = get_args(Split)

PHRASINGS: Final[Mapping[Skill, tuple[str, str, str, str]]] = {
    "addition": (
        "What is {a} + {b}?",
        "Add {a} and {b}.",
        "Please work out the sum of {a} and {b}.",
        "How much do {a} and {b} make together?",
    ),
    "reverse": (
        "Reverse the word {word}",
        "Write {word} backwards.",
        "Spell {word} from the last letter to the first.",
        "How does {word} read in a mirror?",
    ),
    "sort": (
        "Sort these digits: {digits}",
        "Put {digits} in ascending order.",
        "Arrange the digits {digits} from small to large.",
        "Which order do {digits} have when the smallest comes first?",
    ),
    "dashes": (
        "Write {word} in capitals with dashes between the letters.",
        "Spell out {word} with dashes, in upper case.",
        "Make every letter of {word} a capital and join them by dashes.",
        "Show the word {word} as dashed capitals.",
    ),
    "count": (
        "How many times does {letter} occur in {word}?",
        "Count the letter {letter} in {word}.",
        "Tell me how often the word {word} contains {letter}.",
        "In {word}, what is the number of {letter}?",
    ),
    "facts": (
        "Where do the {first} and the {second} live?",
        "Name the homes of the {first} and the {second}.",
        "In which places would I find a {first} and a {second}?",
        "Tell me the habitat of the {first}, then of the {second}.",
    ),
}

# Invented creatures, known only from training. Their homes are arbitrary but fixed.
_CREATURES: Final = (
    "borog", "dalim", "fennu", "gavot", "hulpi", "jarem", "kitso", "lomba", "merok", "nuvil", "ostar", "pelun",
    "quima", "rastu", "selko", "tivar", "umbel", "vanto", "wexil", "yorba", "zemmi", "cadru", "drupo", "flisk",
    "grosk", "snavi", "trilo", "plaku",
)  # fmt: skip
_PLACES: Final = ("river", "hill", "cave", "marsh", "forest", "desert", "island", "meadow", "lake", "tower")
HABITATS: Final[Mapping[str, str]] = {
    creature: _PLACES[(7 * i + i // len(_PLACES)) % len(_PLACES)] for i, creature in enumerate(_CREATURES)
}

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_FRESH_DRAWS: Final = 50


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt whose answer can be checked."""

    id: str  # unique among all tasks of all splits and seeds, up to a hash of 32 bits
    prompt: str  # the user's message
    skill: Skill
    reference: str  # the right text after the last `Answer:`


@dataclass(frozen=True, slots=True)
class Exercise:
    """A training example: a task with the response of a perfect model."""

    prompt: str
    reference: str
    response: str  # ends in `Answer: <reference>`; one style per skill


@dataclass(frozen=True, slots=True)
class _Draw:
    """A drawn payload: `fields` fill a phrasing, `steps` lead to the answer."""

    payload: str
    fields: Mapping[str, str]
    reference: str
    steps: str = ""


def _addition(rng: random.Random) -> _Draw:
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    ones = a % 10 + b % 10
    carry = ones // 10
    tens = f"{a // 10}+{b // 10}" + ("+1" if carry else "")
    steps = f"{a % 10}+{b % 10}={ones}, {tens}={a // 10 + b // 10 + carry}. "
    return _Draw(f"{a}+{b}", {"a": str(a), "b": str(b)}, str(a + b), steps)


def _word(rng: random.Random, shortest: int, longest: int) -> str:
    return "".join(rng.choices(_LETTERS, k=rng.randint(shortest, longest)))


def _reverse(rng: random.Random) -> _Draw:
    word = _word(rng, 4, 6)
    return _Draw(word, {"word": word}, word[::-1])


def _sort(rng: random.Random) -> _Draw:
    digits = rng.sample("0123456789", k=rng.randint(4, 6))
    return _Draw("".join(digits), {"digits": " ".join(digits)}, " ".join(sorted(digits)))


def _dashes(rng: random.Random) -> _Draw:
    word = _word(rng, 4, 7)
    return _Draw(word, {"word": word}, "-".join(word.upper()))


def _count(rng: random.Random) -> _Draw:
    # Counts from 1 to 5 are equally likely, so that guessing is right one time in five.
    letter, *others = rng.sample(_LETTERS, k=5)
    count = rng.randint(1, 5)
    letters = [letter] * count + rng.choices(others, k=rng.randint(7, 9) - count)
    rng.shuffle(letters)
    word = "".join(letters)
    # The running count after each letter: without it, models this small only guess.
    tally = "".join(f"{each}{letters[: i + 1].count(letter)}" for i, each in enumerate(letters))
    return _Draw(f"{letter}:{word}", {"letter": letter, "word": word}, str(count), f"{tally}. ")


def _facts(rng: random.Random) -> _Draw:
    first, second = rng.sample(_CREATURES, k=2)
    fields = {"first": first, "second": second}
    return _Draw(f"{first}:{second}", fields, f"{HABITATS[first]}, {HABITATS[second]}")


_DRAWERS: Final[Mapping[Skill, Callable[[random.Random], _Draw]]] = {
    "addition": _addition,
    "reverse": _reverse,
    "sort": _sort,
    "dashes": _dashes,
    "count": _count,
    "facts": _facts,
}


def split_of(skill: Skill, payload: str) -> Split:
    """The split of a payload, by its hash: 70 % train, 15 % held out, 15 % demo."""
    percent = int.from_bytes(hashlib.sha256(f"{skill}:{payload}".encode()).digest()[:4]) % 100
    if percent < 70:
        return "train"
    return "held_out" if percent < 85 else "demo"


def exercise(skill: Skill, split: Split, rng: random.Random) -> Exercise:
    """Draw an exercise of a skill whose payload is in `split`."""
    draw = _DRAWERS[skill](rng)
    while split_of(skill, draw.payload) != split:
        draw = _DRAWERS[skill](rng)
    prompt = rng.choice(PHRASINGS[skill]).format(**draw.fields)
    return Exercise(prompt, draw.reference, f"{draw.steps}Answer: {draw.reference}")


def tasks(split: Split, count: int, seed: int = 0) -> list[Task]:
    """`count` tasks, the skills in equal shares and mixed order; the same arguments give the same tasks.

    A shorter list is the beginning of a longer list. Prompts repeat only once a skill has no new prompts.

    Raises:
        ValueError: unknown split, or negative count.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
    if count < 0:
        raise ValueError(f"count is {count}; expected zero or more")
    rng = random.Random(f"{split}:{seed}")  # noqa: S311 - repeatable on purpose, and no secret
    seen: set[str] = set()
    made: list[Task] = []
    while len(made) < count:
        for skill in rng.sample(SKILLS, k=len(SKILLS)):
            drawn = _fresh(skill, split, rng, seen)
            digest = hashlib.sha256(f"{seed}:{drawn.prompt}".encode()).hexdigest()[:8]
            made.append(
                Task(f"tiny-{split.replace('_', '-')}-{len(made):05d}-{digest}", drawn.prompt, skill, drawn.reference)
            )
    return made[:count]


def _fresh(skill: Skill, split: Split, rng: random.Random, seen: set[str]) -> Exercise:
    for _ in range(_FRESH_DRAWS):
        drawn = exercise(skill, split, rng)
        if drawn.prompt not in seen:
            break
    seen.add(drawn.prompt)
    return drawn
