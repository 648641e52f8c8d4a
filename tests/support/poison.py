"""Plug-ins that die on the spot when they meet a poisoned prompt, as the OOM killer would have it.

A word in the prompt's text names the service that it kills. A model with `sensitive = true` in its `options` dies of
it, or repeats it in its answer, so that it reaches the later stages; other models do neither. Healthy work takes
`latency_s`, and poison kills after half of it: whatever the same process has in hand dies with it. Every death leaves
a line in the file that `KARMA_TEST_POISON_LOG` names.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from karma.messages import Answer, GenerateItem, JudgeItem, JudgeSpec, ModelSpec, Verdict

Service = Literal["generation", "scoring", "matching", "judging"]

#: The word that kills a service's worker.
WORDS: Mapping[Service, str] = {
    "generation": "henbane",
    "scoring": "wolfsbane",
    "matching": "oleander",
    "judging": "hemlock",
}

_KILLED = 137  # the exit status of a process that SIGKILL ended


def die_of(service: Service, *texts: str) -> None:
    """End this process without a word if a text is poison to its service."""
    if not any(WORDS[service] in text for text in texts):
        return
    with open(os.environ["KARMA_TEST_POISON_LOG"], "a", encoding="utf-8") as lines:
        lines.write(f"{service}\n")
    os._exit(_KILLED)


def _work(options: Mapping[str, Any], part: float = 1.0) -> None:
    time.sleep(options.get("latency_s", 0.0) * part)


class PoisonedBackend:
    """Answers with words of its own and, where the model is sensitive, whatever poison the prompt holds."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        _work(spec.options, 0.5)
        texts = [one.messages[-1].content if spec.options.get("sensitive") else "" for one in items]
        die_of("generation", *texts)
        _work(spec.options, 0.5)
        yield [
            Answer(
                item=one.item,
                prompt=one.prompt,
                model=spec.name,
                sample=one.sample,
                text=_words(f"{spec.name}{one.seed}", text),
            )
            for one, text in zip(items, texts, strict=True)
        ]


class PoisonedJudge:
    """Prefers the text that comes first in the alphabet, whichever is shown first."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        _work(spec.options, 0.5)
        die_of("judging", *(one.first + one.second for one in items))
        _work(spec.options, 0.5)
        yield [
            Verdict(
                item=one.item,
                pair=one.pair,
                prompt=one.prompt,
                judge=spec.name,
                order=one.order,
                probability=0.9 if one.first < one.second else 0.1,
            )
            for one in items
        ]


class PoisonedPolicy:
    """Draws a pair with equal chances."""

    name = "poisoned"

    def choose(self, pool: Any, count: int, rng: random.Random) -> tuple[list[Any], str]:
        from karma.policies.candidates import Choice  # only matching chooses, and only matching has it installed

        die_of("matching", *(candidate.text for candidate in pool.candidates))
        places = rng.sample(range(len(pool.pairs)), count)
        return [Choice(place, count / len(pool.pairs), "drawn") for place in places], ""


def check(text: str, reference: str, /) -> bool:
    """Whether the answer holds the reference."""
    die_of("scoring", text)
    return reference in text


def _words(seed: str, asked: str) -> str:
    """Twelve words that depend on the seed, and the poison of what was asked."""
    digest = hashlib.sha256(seed.encode()).hexdigest()
    poison = [word for word in WORDS.values() if word in asked]
    return " ".join([*(digest[place : place + 4] for place in range(0, 48, 4)), *poison])


PLUGINS = {
    "karma.backends": {"poisoned": PoisonedBackend},
    "karma.judges": {"poisoned": PoisonedJudge},
    "karma.policies": {"poisoned": PoisonedPolicy()},
    "karma.checkers": {"poisoned": check},
}
