"""A backend and a judge that answer at once, from the texts alone, and note every call. Named by `KARMA_PLUGINS`.

A call is a JSON line in the file that `KARMA_TEST_CALLS` names. Words in a prompt decide what else happens: a model
with `refuses = true` in its `options` refuses a `delicate` prompt, two answers to an `undecided` one cannot be judged,
and of answers to a `careless` one the first shown is better.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from karma.messages import Answer, GenerateItem, JudgeItem, JudgeSpec, ModelSpec, Verdict

#: Answers and verdicts that come together: a batch's results are several messages.
_AT_ONCE = 2

_T = TypeVar("_T")


class NotedBackend:
    """Twelve words that depend on the seed, and the sum of the prompt's numbers, which is off by one for odd seeds."""

    def answer(self, spec: ModelSpec, items: Sequence[GenerateItem]) -> Iterator[Sequence[Answer]]:
        for group in _groups(items):
            _note([("generate", one.prompt, spec.name, one.sample) for one in group])
            yield [_answer(spec, one) for one in group]


class NotedJudge:
    """Prefers by the texts' hashes, whichever is shown first, and finds one pair in eight equal."""

    def judge(self, spec: JudgeSpec, items: Sequence[JudgeItem]) -> Iterator[Sequence[Verdict]]:
        for group in _groups(items):
            _note([("judge", one.pair, spec.name, one.order) for one in group])
            yield [_verdict(spec, one) for one in group]


def _groups(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[place : place + _AT_ONCE] for place in range(0, len(items), _AT_ONCE))


def _note(calls: Sequence[tuple[str, int, str, int]]) -> None:
    with open(os.environ["KARMA_TEST_CALLS"], "a", encoding="utf-8") as lines:
        lines.write("".join(json.dumps(call) + "\n" for call in calls))


def _answer(spec: ModelSpec, item: GenerateItem) -> Answer:
    asked = item.messages[-1].content
    refused = bool(spec.options.get("refuses")) and "delicate" in asked
    digest = hashlib.sha256(f"{spec.model}{item.seed}".encode()).hexdigest()
    words = " ".join(digest[place : place + 4] for place in range(0, 48, 4))
    total = sum(map(int, re.findall(r"\d+", asked))) + item.seed % 2
    text = f"{words}\nAnswer: {total}"
    return Answer(
        item=item.item,
        prompt=item.prompt,
        model=spec.name,
        sample=item.sample,
        text=None if refused else text,
        failure="the model refuses" if refused else None,
        finish_reason=None if refused else "stop",
        tokens_in=len(asked.split()),
        tokens_out=0 if refused else len(text.split()),
        latency_s=0.25,
    )


def _verdict(spec: JudgeSpec, item: JudgeItem) -> Verdict:
    asked = item.messages[-1].content
    undecided = "undecided" in asked
    first, second = (hashlib.sha256(text.encode()).digest() for text in (item.first, item.second))
    equal = (first[0] ^ second[0]) % 8 == 0
    probability = 0.9 if "careless" in asked else 0.5 if equal else 0.85 if first > second else 0.15
    return Verdict(
        item=item.item,
        pair=item.pair,
        prompt=item.prompt,
        judge=spec.name,
        order=item.order,
        template_hash="0123456789ab",
        probability=None if undecided else probability,
        failure="unparsable verdict: 'Both.'" if undecided else None,
        rationale=None if undecided else "One is clearer – and shorter.",
        tokens_in=len(item.first.split()) + len(item.second.split()),
        tokens_out=4,
        latency_s=0.125,
    )


PLUGINS = {"karma.backends": {"noted": NotedBackend}, "karma.judges": {"noted": NotedJudge}}
