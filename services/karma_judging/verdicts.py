"""Makes verdicts of what a judge gave."""

from __future__ import annotations

from typing import Any

from karma.errors import SettingsError
from karma.messages import JudgeItem, JudgeSpec, ModelSpec, Verdict


def verdict(spec: JudgeSpec, item: JudgeItem, **fields: Any) -> Verdict:
    """The verdict of a judge on an item; `fields` are further ones of `Verdict`, which refuses those it has not."""
    return Verdict(item=item.item, pair=item.pair, prompt=item.prompt, judge=spec.name, order=item.order, **fields)


def model_of(spec: JudgeSpec) -> ModelSpec:
    """The model that a judge asks.

    Raises:
        SettingsError: the specification has none.
    """
    if spec.model is None:
        raise SettingsError(f"judge {spec.name} names no model; give it a table [judges.{spec.name}.model]")
    return spec.model
