"""What a model in this process is asked for, and what it gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from karma.messages import ModelSpec


@dataclass(frozen=True)
class Generated:
    """The result of one chat: a text, or a failure with its reason."""

    text: str | None = None  # without the model's reasoning
    reasoning: str | None = None
    failure: str | None = None
    kind: str | None = None  # of the failure
    finish_reason: str | None = None  # `stop` or `length`
    tokens_in: int | None = None
    tokens_out: int | None = None


def sampling_of(spec: ModelSpec) -> dict[str, Any]:
    """The arguments of transformers' `generate` that a specification decides about."""
    if spec.temperature == 0:
        return {"do_sample": False}
    sampling = {} if spec.temperature == "default" else {"do_sample": True, "temperature": spec.temperature, "top_k": 0}
    return sampling if spec.top_p == "default" else {**sampling, "top_p": spec.top_p}


@dataclass(frozen=True)
class Likelihood:
    """The log-likelihood of a response given its chat; `failure` is the reason if it could not be computed."""

    nats: float = 0.0  # sum over the response's tokens, its end included
    tokens: int = 0
    failure: str | None = None


@dataclass(frozen=True)
class LabelProbability:
    """The probability of each of two labels as the next token; `failure` is the reason if it could not be computed."""

    first: float = 0.0
    second: float = 0.0
    failure: str | None = None


@dataclass(frozen=True)
class Score:
    """The score that a reward model gives a response; `failure` is the reason if it could not be computed."""

    logit: float = 0.0
    tokens: int = 0  # that were read, the prompt included
    failure: str | None = None


def cut_at(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the texts at which a generation ends."""
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]
