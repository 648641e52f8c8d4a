"""A backend and a judge that answer at once: what is left is the pipeline's own cost. Named by `KARMA_PLUGINS`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from karma.messages import Answer, GenerateItem, JudgeItem, JudgeSpec, ModelSpec, Verdict

#: Two models and a judge, all instant.
POOL = """
[models.a]
backend = "instant"
model = "a"
[models.b]
backend = "instant"
model = "b"
[judges.j]
kind = "instant"
[stream]
goal = "label"
"""


def pool(models: int, batch: int = 32) -> str:
    """K models that answer every prompt, and a judge that sees one order; `batch` items a message."""
    parts = [f'[pipeline]\nwindow = 4096\nbatch_items = {batch}\n[stream]\ngoal = "label"\nresponses_per_prompt = 0\n']
    parts += [f'[models.m{n}]\nbackend = "instant"\nmodel = "m{n}"\n' for n in range(models)]
    parts.append('[judges.j]\nkind = "instant"\nboth_orders = false\n')
    return "".join(parts)


class InstantBackend:
    """Answers with the model's name and the seed."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        yield [
            Answer(
                item=one.item,
                prompt=one.prompt,
                model=spec.name,
                sample=one.sample,
                text=f"{spec.name} says {one.seed}",
            )
            for one in items
        ]


class InstantJudge:
    """Prefers the text that comes first in the alphabet, whichever is shown first."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
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


#: Seconds that a message takes of a model or judge that is waited for.
SLOW_S = 1.0


class SlowBackend(InstantBackend):
    """Answers a message after a while, without using the CPU."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        time.sleep(SLOW_S)
        yield from super().answer(spec, items)


class SlowJudge(InstantJudge):
    """Judges a message after a while, without using the CPU."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        time.sleep(SLOW_S)
        yield from super().judge(spec, items)


PLUGINS = {
    "karma.backends": {"instant": InstantBackend, "slow": SlowBackend},
    "karma.judges": {"instant": InstantJudge, "slow": SlowJudge},
}
