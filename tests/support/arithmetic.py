"""Models that do sums more or less well, and judges with the habits of judges, behind the tests' server.

A judge mostly sees which sum is right; it also leans to what it is shown first and to the longer text, and sometimes
gives no verdict.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from typing import Any

from tests.support.endpoint import Endpoint

#: Ability of each model and difficulty of each skill, logits; and how many words of explanation a model likes.
MODELS = {
    "atlas-70b": (2.6, 3),
    "birch-32b": (1.9, 1),
    "cedar-14b": (1.4, 2),
    "dune-8b": (0.7, 3),
    "ember-3b": (0.0, 1),
    "fern-1b": (-0.9, 2),
}
SKILLS = {"addition": ("+", -0.4), "subtraction": ("−", 0.0), "multiplication": ("×", 0.9)}
JUDGES = ("judge-north", "judge-south")

_SUM = re.compile(r"(\d+) ([+−×]) (\d+)")
_PAIR = re.compile(r"RESPONSE A\n(.*?)\n==\S+ RESPONSE B\n(.*?)\n==\S+ END", re.DOTALL)
_NUMBER = re.compile(r"-?\d+")


def prompts(count: int, seed: int = 0) -> list[dict[str, str]]:
    """So many sums with their skill."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        skill = rng.choice(list(SKILLS))
        sign = SKILLS[skill][0]
        asked = f"What is {rng.randint(12, 98)} {sign} {rng.randint(12, 98)}? Show how you get there."
        found.append({"id": f"sum-{number:04}", "prompt": asked, "skill": skill})
    return found


def teach(endpoint: Endpoint) -> None:
    """Let the server's models and judges do sums."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        asked, name = body["messages"][-1]["content"], body["model"]
        rng = random.Random(hashlib.sha256(f"{name}{asked}{body.get('seed')}".encode()).digest())
        said = _verdict(asked, rng) if name in JUDGES else _solution(name, asked, rng)
        tokens = {"prompt_tokens": len(asked.split()), "completion_tokens": len(said.split())}
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return {"object": "chat.completion", "choices": [choice], "usage": tokens}

    endpoint.answer = answer  # type: ignore[method-assign]


def _result(asked: str) -> tuple[int, str, int, int]:
    found = _SUM.search(asked)
    assert found is not None, asked
    first, sign, second = int(found[1]), found[2], int(found[3])
    return first, sign, second, {"+": first + second, "−": first - second, "×": first * second}[sign]


def _solution(model: str, asked: str, rng: random.Random) -> str:
    first, sign, second, right = _result(asked)
    ability, words = MODELS[model]
    difficulty = next(hard for mark, hard in SKILLS.values() if mark == sign)
    knows = rng.random() < 1 / (1 + math.exp(difficulty - ability))
    given = right if knows else right + rng.choice((-10, 10, -1, 1, 2, 9, 100))
    tens, ones = second - second % 10, second % 10
    steps = [
        f"First take the tens of {second}: {first} {sign} {tens}.",
        f"Then the ones, {ones}, are left to be dealt with in the same way.",
        "Putting both parts together gives the result, which I have checked once more from the other side.",
    ]
    return " ".join([*steps[: rng.randint(0, words)], f"So {first} {sign} {second} = {given}."])


def _verdict(asked: str, rng: random.Random) -> str:
    found = _PAIR.search(asked)
    if found is None or rng.random() < 0.01:
        return "Both have their merits; I would not want to choose between them."
    right = _result(asked)[3]
    given = [int(_NUMBER.findall(text)[-1]) for text in found.groups()]
    correct = [value == right for value in given]
    longer = (len(found[1]) > len(found[2])) - (len(found[1]) < len(found[2]))
    score = 2.4 * (correct[0] - correct[1]) + 0.25 + 0.4 * longer + rng.gauss(0, 0.7)
    if abs(score) < 0.2:
        return f"Both arrive at {given[0]} and {given[1]} in a comparable way.\nVerdict: tie"
    best, other = (0, 1) if score > 0 else (1, 0)
    why = "which is right" if correct[best] else "and explains its way better"
    return (
        f"Response {'AB'[best]} arrives at {given[best]}, {why}; the other says {given[other]}.\nVerdict: {'AB'[best]}"
    )
