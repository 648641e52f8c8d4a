"""Helpers for judges: makes a verdict, keeps an error to its item, and gets the judge's model."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from karma.errors import ReleasedError, SettingsError
from karma.messages import JudgeItem, JudgeSpec, ModelSpec, Verdict
from karma.messages.results import reason_of

log = logging.getLogger(__name__)

#: Least probability of the two labels together; below it the model was about to say something else.
LEAST_MASS = 0.05


def verdict(spec: JudgeSpec, item: JudgeItem, **fields: Any) -> Verdict:
    """The verdict of a judge on an item; `fields` are the other fields of `Verdict`."""
    return Verdict(item=item.item, pair=item.pair, prompt=item.prompt, judge=spec.name, order=item.order, **fields)


def guarded(spec: JudgeSpec, item: JudgeItem, make: Callable[[], Verdict]) -> Verdict:
    """The verdict that `make` returns; a failure of this item alone if it raises."""
    try:
        return make()
    except ReleasedError:
        raise
    except Exception as cause:
        log.exception("the judge %s failed on one pair", spec.name)
        return verdict(spec, item, failure=reason_of(cause, f"the judge {spec.name} failed"))


def share_of_first(first: float, second: float) -> float | None:
    """P(first label) among the two labels, from their probabilities as the next token; None if both are unlikely."""
    return first / (first + second) if first + second >= LEAST_MASS else None


def sigmoid(logit: float) -> float:
    """1 / (1 + e^−logit), without overflow; NaN stays NaN and becomes a failure."""
    return 0.5 * (1.0 + math.tanh(logit / 2.0))


def model_of(spec: JudgeSpec) -> ModelSpec:
    """The model of a judge.

    Raises:
        SettingsError: the specification has no model.
    """
    if spec.model is None:
        raise SettingsError(f"judge {spec.name} names no model; give it a table [judges.{spec.name}.model]")
    return spec.model
