"""One small call of a model or judge, by the service's own code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from karma.messages import GenerateBatch, GenerateItem, Header, JudgeBatch, JudgeItem, JudgeSpec, ModelSpec, Turn
from karma.plugins.registry import backend_kind, judge_kind

#: Seconds that one call may take here.
CALL_S = 30.0

ASKED: Final = (Turn("user", "What is 2 + 2? Reply with the number only."),)
#: Of a model whose samples are compared: many answers are right, and a short one is enough.
ASKED_ANY: Final = (Turn("user", "Name any five animals, in one line, and nothing else."),)
_RIGHT, _WRONG = "4", "5"

_LONG_WORDS = 1500
_PLAIN_WORDS = ("a", "river", "runs", "past", "the", "old", "mill", "and", "on", "to", "sea")


@dataclass(frozen=True)
class Called:
    """The result of a call: a failure with its reason, or what was measured."""

    failure: str | None = "no answer"
    text: str | None = None
    probability: float | None = None  # that the right answer is better, by a judge
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None
    note: str | None = None  # of a verdict
    dropped: tuple[str, ...] = ()


def is_local(spec: ModelSpec | JudgeSpec) -> bool:
    """Whether it loads a checkpoint into the worker's process."""
    return backend_kind(spec.backend).local if isinstance(spec, ModelSpec) else judge_kind(spec.kind).local


def endpoint_of(spec: ModelSpec | JudgeSpec) -> ModelSpec | None:
    """The model behind an endpoint that KARMA itself calls; None for others."""
    model = spec if isinstance(spec, ModelSpec) else spec.model
    if model is None or is_local(spec):
        return None
    return model if backend_kind(model.backend).needs_base_url and model.base_url else None


def impatient(spec: ModelSpec) -> ModelSpec:
    """The same model with one short attempt, and without batch jobs: these may take a day."""
    return replace(spec, timeout_s=min(spec.timeout_s, CALL_S), max_retries=0, batch=False)


def call(spec: ModelSpec | JudgeSpec) -> Called:
    """One small call."""
    if isinstance(spec, ModelSpec):
        return _generate(spec)
    return judge_pair(spec, _pair(_RIGHT, _WRONG))


def judge_pair(spec: JudgeSpec, pair: JudgeItem) -> Called:
    """The verdict of a judge on a pair."""
    from karma_judging.handlers import judge
    from karma_judging.worker import ask

    model = None if spec.model is None else impatient(spec.model)
    asked = JudgeBatch(header=_header(), judge=spec.name, specification="", items=(pair,))
    called = Called()
    for learnt in judge(asked, replace(spec, model=model), ask):
        one = learnt.items[0]
        called = Called(
            one.failure, None, one.probability, one.tokens_in, one.tokens_out, one.latency_s, one.note
        )  # fmt: skip
    return called


def long_pair() -> JudgeItem:
    """Two responses of 1,500 words each: a judge whose context is small reads a cut prompt."""
    words = [_PLAIN_WORDS[number % len(_PLAIN_WORDS)] for number in range(_LONG_WORDS)]
    return _pair(f"{_RIGHT}. {' '.join(words)}", f"{_WRONG}. {' '.join(reversed(words))}")


def judge_prompt(spec: JudgeSpec) -> tuple[Turn, ...]:
    """What a judge behind an endpoint is asked."""
    from karma_judging.template import render

    brief = bool(spec.options.get("logprobs", False))
    return (Turn("user", render(spec, _pair(_RIGHT, _WRONG), brief)),)


def _generate(spec: ModelSpec) -> Called:
    from karma_generation.handlers import generate
    from karma_generation.worker import ask

    messages = ASKED if endpoint_of(spec) is None else ASKED_ANY
    item = GenerateItem(item=1, prompt=1, sample=0, seed=1, messages=messages)
    asked = GenerateBatch(header=_header(), model=spec.name, specification="", items=(item,))
    called = Called()
    for scored in generate(asked, impatient(spec), ask):
        one = scored.items[0]
        called = Called(
            one.failure, one.text, None, one.tokens_in, one.tokens_out, one.latency_s, None, one.dropped
        )  # fmt: skip
    return called


def _pair(first: str, second: str) -> JudgeItem:
    return JudgeItem(
        item=1, pair=1, prompt=1, order=0, seed=1, messages=ASKED, first=first, second=second,
        reference=_RIGHT, prior=0.5, given=1.0,
    )  # fmt: skip


def _header() -> Header:
    return Header(stream="doctor", batch="doctor", token="doctor")  # noqa: S106 - no secret
