"""Rows like those before them, written without a look at each value in Python.

What all rows so far have in common is one type of `msgspec`. A row that fits it widens no type of the file, and is
converted and encoded at once; any other row takes the long way (`columns.hold`, `Observed.add`), which says what is
wrong with it. Both ways write the same values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from karma_gateway.exports.columns import DATE, Columns, Observed, Row, Type

#: The largest whole number up to which every one is a decimal number.
_EXACT = 2.0**53

_KINDS: Mapping[str | None, Any] = {
    None: None,
    "bool": bool | None,
    "int64": int | None,
    "float64": Annotated[float, msgspec.Meta(gt=-_EXACT, lt=_EXACT)] | None,  # neither NaN nor infinite
    "string": str | None,
    "date": Annotated[str, msgspec.Meta(pattern=rf"^(?:{DATE.pattern})\Z")] | None,
}

_encode = msgspec.json.Encoder().encode


class RegularRows:
    """The type of all rows that were observed of a file with declared columns."""

    def __init__(self, observed: Observed, columns: Columns) -> None:
        self._type = _type(observed, columns)

    def line(self, row: Row) -> bytes | None:
        """The row as JSON; None where it is not like those before it."""
        try:
            return _encode(msgspec.convert(row, self._type))
        except (msgspec.ValidationError, UnicodeEncodeError):
            return None


def _type(observed: Observed, declared: Type) -> Any:
    if isinstance(declared, str) or observed.kind is None:
        return _KINDS[observed.kind]
    if isinstance(declared, list):
        return list[_type(observed.element or Observed(), declared[0])] | None  # type: ignore[misc]
    fields: list[tuple[Any, ...]] = []
    names: dict[str, str] = {}
    for name, type_ in declared.items():
        own = name.removesuffix("?")
        if own in observed.fields:
            part = _type(observed.fields[own], type_)
            place = f"field_{len(fields)}"
            names[place] = own
            if not name.endswith("?"):
                fields.append((place, part, None))  # as `hold` fills it
            elif own in observed.missing:
                fields.append((place, part | msgspec.UnsetType, msgspec.UNSET))
            else:
                fields.append((place, part))
    made = msgspec.defstruct("Regular", fields, rename=names, kw_only=True, forbid_unknown_fields=True)
    return made | None
