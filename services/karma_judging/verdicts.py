"""Helpers for judges: makes a verdict, and gets the judge's model."""

from __future__ import annotations

from typing import Any

from karma.errors import SettingsError
from karma.messages import JudgeItem, JudgeSpec, ModelSpec, Verdict


def verdict(spec: JudgeSpec, item: JudgeItem, **fields: Any) -> Verdict:
    """The verdict of a judge on an item; `fields` are the other fields of `Verdict`."""
    return Verdict(item=item.item, pair=item.pair, prompt=item.prompt, judge=spec.name, order=item.order, **fields)


def model_of(spec: JudgeSpec) -> ModelSpec:
    """The model of a judge.

    Raises:
        SettingsError: the specification has no model.
    """
    if spec.model is None:
        raise SettingsError(f"judge {spec.name} names no model; give it a table [judges.{spec.name}.model]")
    return spec.model
