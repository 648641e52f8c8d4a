"""Alpaca: `instruction`, an `input` that may be empty, and an `output` that travels as metadata."""

from __future__ import annotations

from karma_gateway.forms.draft import Draft, Fields, Form, drafted, needs, text_of
from karma_gateway.json_values import non_empty


def _draft(row: Fields) -> Draft:
    prompt = non_empty(row.pop("instruction"), "`instruction`")
    context = text_of(row.pop("input", ""), "input")
    if context.strip():
        prompt = f"{prompt}\n\n{context}"
    system = text_of(row.pop("system", ""), "system")
    if system.strip():
        return drafted(row, messages=[{"role": "system", "content": system}, {"role": "user", "content": prompt}])
    return drafted(row, prompt=prompt)


ALPACA = Form("Alpaca", needs("instruction", optional=("input", "system")), _draft)
