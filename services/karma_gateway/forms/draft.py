"""A form: which columns a row needs to have it, and how its prompt is read from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeAlias

from karma_gateway.json_values import RefusedError, found

#: A row's values by column, without nulls.
Fields: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Draft:
    """A row in KARMA's own fields (`prompt_lines.FIELDS`), not validated yet; the other columns are metadata."""

    fields: Fields
    metadata: Fields


@dataclass(frozen=True)
class Form:
    """One layout of data.

    Args:
        name: as users know it.
        uses: the columns that the form reads of these ones; None where a row with them is of another form.
        draft: reads a row, whose dictionary it may change. Raises RefusedError for what KARMA cannot hold.
    """

    name: str
    uses: Callable[[Collection[str]], tuple[str, ...] | None]
    draft: Callable[[Fields], Draft]


def needs(*required: str, optional: tuple[str, ...] = ()) -> Callable[[Collection[str]], tuple[str, ...] | None]:
    """A form's columns: all that are required, and those of the optional ones that are there."""

    def uses(columns: Collection[str]) -> tuple[str, ...] | None:
        if not all(name in columns for name in required):
            return None
        return (*required, *(name for name in optional if name in columns))

    return uses


#: KARMA's fields that a row of any form may have in columns of the same name.
_SHARED = ("id", "skill", "reference")


def drafted(fields: Fields, **own: Any) -> Draft:
    """A draft with these fields, and the columns that are left: `id`, `skill` and `reference`, and metadata."""
    shared = {name: fields.pop(name) for name in _SHARED if name in fields}
    return Draft(shared | own, fields)


def text_of(value: Any, name: str) -> str:
    """A text.

    Raises:
        RefusedError: it is none.
    """
    if not isinstance(value, str):
        raise RefusedError(f"`{name}` must be a string, found {found(value)}")
    return value


def list_of(value: Any, name: str) -> list[Any]:
    """A list, also one that stands in a text cell as JSON.

    Raises:
        RefusedError: it is none.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as cause:
            raise RefusedError(f"`{name}` is no list in JSON: {cause}") from cause
    if not isinstance(value, list) or not value:
        raise RefusedError(f"`{name}` must be a list with at least one element, found {found(value)}")
    return value
