"""Reads tables of the pool file. An error names the table, the key, its value, and what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, get_args

import msgspec

from karma.errors import SettingsError, did_you_mean

_T = TypeVar("_T")


@contextmanager
def errors_in(where: str) -> Iterator[None]:
    """Errors within the block begin with `where`: a file, or a table such as `[models.a]`."""
    try:
        yield
    except SettingsError as cause:
        raise SettingsError(f"{where} {cause}") from cause


def convert(table: Any, kind: type[_T]) -> _T:
    """A table as a structure.

    Raises:
        SettingsError: an unknown or missing key, or an invalid value.
    """
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as cause:
        message, _, path = str(cause).partition(" - at `$.")
        if unknown := re.search(r"unknown field `([^`]+)`", message):
            raise SettingsError(f"unknown key {unknown[1]!r}{did_you_mean(unknown[1], types)}") from cause
        if missing := re.search(r"missing required field `([^`]+)`", message):
            message = f"lacks the key `{missing[1]}`"
        key = re.split(r"[.[`]", path)[0]
        if message.startswith("Invalid enum value"):
            message = f"expected one of {', '.join(_accepted(types[key]))}"
        raise SettingsError(f"{path.rstrip('`')} is {table.get(key)!r}: {message}" if path else message) from cause


def _accepted(kind: Any) -> list[str]:
    """The values that a type accepts, by name: those of a literal, `a number` for every number."""
    parts = get_args(kind)
    if not parts:
        return [kind] if isinstance(kind, str) else ["a number"]
    return [name for part in parts for name in _accepted(part)]


def check_known(name: str, known: Iterable[str], key: str, what: str) -> None:
    """Raise a SettingsError if the name under `key` is not among the `known` names; `what` says what they name."""
    if name not in known:
        raise SettingsError(f"{key} names {name!r}, which is no {what}{did_you_mean(name, known)}")
