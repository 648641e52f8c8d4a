"""Types of an export's columns: declared by its exporter, held against every row, or inferred from all rows.

A type is `"string"`, `"int64"`, `"float64"`, `"bool"`, a list of one type, or a dictionary of names and types. A name
that ends with `?` is in a file only if some row has it. `Observed` is what the rows of a file have in fact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from karma.errors import SettingsError

Type: TypeAlias = "str | list[Any] | Mapping[str, Any]"
Columns: TypeAlias = Mapping[str, Type]
Row: TypeAlias = dict[str, Any]

#: What readers of JSON take for a time, whatever the other columns say.
DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d(:?\d\d(:?\d\d(\.\d{1,9})?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?")

_KINDS: Mapping[type, str] = {bool: "bool", int: "int64", float: "float64", str: "string", list: "list", tuple: "list"}

#: Two kinds in one column → the kind that has the values of both.
_WIDER = {frozenset(("date", "string")): "string", frozenset(("int64", "float64")): "float64"}


def hold(value: Any, type_: Type, where: str = "") -> Any:
    """The value as its declared type: whole numbers of a decimal column are decimal, missing fields are None.

    Raises:
        SettingsError: the value is of another type; nothing is rounded, cut or dropped.
    """
    if value is None:
        return None
    if isinstance(type_, Mapping):
        if isinstance(value, Mapping):
            return _fields(value, type_, where)
    elif isinstance(type_, list):
        if isinstance(value, (list, tuple)):
            return [hold(part, type_[0], f"{where}[]") for part in value]
    elif (kind := _KINDS.get(type(value))) == type_:
        return value
    elif (kind, type_) == ("int64", "float64") and float(value) == value:
        return float(value)
    declared = type_ if isinstance(type_, str) else "list" if isinstance(type_, list) else "object"
    raise SettingsError(f"the exporter declares {where} as {declared}, but a row has {value!r:.60}")


def _fields(value: Mapping[str, Any], types: Columns, where: str) -> dict[str, Any]:
    known = {name.removesuffix("?"): type_ for name, type_ in types.items()}
    if unknown := [name for name in value if name not in known]:
        raise SettingsError(f"the exporter does not declare {_path(where, unknown[0])}, which a row has")
    return {
        name: hold(value.get(name), type_, _path(where, name))
        for name, type_ in known.items()
        if name in value or name in types
    }


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


@dataclass
class Observed:
    """The type of all values that were added."""

    kind: str | None = None  # None: only null; date: a text that looks like a time; mixed: no type has all values
    element: Observed | None = None
    fields: dict[str, Observed] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)  # fields that not every value has

    def add(self, value: Any) -> bool:
        """Add a value; returns whether it widens the type. All values that do have the type of all values."""
        if value is None:
            return False
        before = self.kind
        self.kind = self._with(value)
        widened = self.kind != before
        if isinstance(value, Mapping):
            for name, part in value.items():
                if name not in self.fields:
                    self.fields[name] = Observed()
                    widened = True
                    if before is not None:
                        self.missing.add(name)
                widened |= self.fields[name].add(part)
            if absent := self.fields.keys() - value.keys() - self.missing:
                self.missing |= absent
                widened = True
        elif isinstance(value, (list, tuple)):
            self.element = self.element or Observed()
            for part in value:
                widened |= self.element.add(part)
        return widened

    def _with(self, value: Any) -> str:
        kind = "object" if isinstance(value, Mapping) else _KINDS.get(type(value), "mixed")
        if kind == "string" and self.kind in (None, "date") and DATE.fullmatch(value):
            kind = "date"
        if self.kind in (None, kind):
            return kind
        return _WIDER.get(frozenset((self.kind or "", kind)), "mixed")

    def declared(self, type_: Type) -> Type:
        """A declared type, with the optional fields that some row has."""
        if isinstance(type_, list):
            return [(self.element or Observed()).declared(type_[0])]
        if isinstance(type_, str):
            return type_
        parts = {name.removesuffix("?"): (part, name.endswith("?")) for name, part in type_.items()}
        return {
            name: self.fields.get(name, Observed()).declared(part)
            for name, (part, optional) in parts.items()
            if not optional or name in self.fields
        }

    def inferred(self, where: str = "") -> Type:
        """The type of all values; `null` where there is none.

        Raises:
            SettingsError: no type has all of them.
        """
        if self.kind == "mixed":
            raise SettingsError(
                f"{where}: the rows have values of different types, or of none that Parquet has; write JSON Lines, "
                "or let the exporter return one type per column"
            )
        if self.kind == "object":
            if where and not self.fields:
                raise SettingsError(
                    f"{where}: every object in it is empty, which Parquet cannot hold; write JSON Lines"
                )
            return {name: part.inferred(_path(where, name)) for name, part in self.fields.items()}
        if self.kind == "list":
            return [(self.element or Observed()).inferred(f"{where}[]")]
        return {None: "null", "date": "string"}.get(self.kind, self.kind or "null")

    def is_uneven(self) -> bool:
        """Whether some objects lack a field that others of the same place have."""
        parts = [*self.fields.values(), *([self.element] if self.element else [])]
        return bool(self.missing) or any(part.is_uneven() for part in parts)

    def dates(self, where: str = "") -> list[str]:
        """The text columns in which every value looks like a time."""
        if self.kind == "date":
            return [where]
        parts = [(_path(where, name), part) for name, part in self.fields.items()]
        parts += [(where, self.element)] if self.element else []
        return [found for name, part in parts for found in part.dates(name)]
