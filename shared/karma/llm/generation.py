"""What a model in this process is asked for, and what it gave."""

from __future__ import annotations

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
