"""Replaceable parts by name: backends, judges, policies, checkers, exporters.

A part is found among the built-ins, then among installed packages' entry points (group `karma.<family>`), then among
the modules named in `KARMA_PLUGINS` (comma-separated import paths), each of which holds
`PLUGINS = {"karma.<family>": {"name": object}}`. A message can only *name* a part, never import one.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from karma.errors import SettingsError


def find(family: str, name: str, built_in: Mapping[str, Any]) -> Any:
    """The part `name` of a family (`backends`, `judges`, …).

    Raises:
        SettingsError: no such part; names those that exist.
    """
    if name in built_in:
        return built_in[name]
    group = f"karma.{family}"
    installed = {point.name: point for point in entry_points(group=group)}
    if name in installed:
        return installed[name].load()
    named = _from_environment(group)
    if name in named:
        return named[name]
    known = ", ".join(sorted({*built_in, *installed, *named}))
    raise SettingsError(f"no {family.removesuffix('s')} is called {name!r}; known are: {known}")


def _from_environment(group: str) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for module_name in filter(None, os.environ.get("KARMA_PLUGINS", "").split(",")):
        try:
            module = importlib.import_module(module_name.strip())
        except ImportError as cause:
            raise SettingsError(f"KARMA_PLUGINS names {module_name!r}, which cannot be imported: {cause}") from cause
        parts.update(module.PLUGINS.get(group, {}))
    return parts
