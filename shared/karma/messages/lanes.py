"""Lanes: a queue has two lists for each priority step, the normal lane and the express lane.

A batch's id names its lane, so its message, its claim and its results have it too, and every id of an earlier version
is of the normal lane. Who gets the express lane is decided when a prompt is admitted (`karma_gateway.fairness`).
"""

from __future__ import annotations

import secrets

_EXPRESS = "x"  # is no hexadecimal digit


def new_batch_id(express: bool = False) -> str:
    """A new id of a batch in the express or the normal lane."""
    return f"{_EXPRESS if express else ''}{secrets.token_hex(8)}"


def is_express(batch: str) -> bool:
    """Whether the batch with this id travels in the express lane."""
    return batch.startswith(_EXPRESS)
