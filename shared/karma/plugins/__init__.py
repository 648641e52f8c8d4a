"""Looks up backends, judges, policies, checkers and exporters by name.

A name is looked up among the built-in parts (`karma.plugins.registry`), then among installed packages' entry points
(group `karma.<family>`), then in the modules of `KARMA_PLUGINS` (comma-separated import paths), each with
`PLUGINS = {"karma.<family>": {"name": object}}`. A message can only *name* a part, never import one.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

from karma.errors import SettingsError, did_you_mean
from karma.plugins.registry import FAMILIES, Family

if TYPE_CHECKING:
    from karma.plugins.protocols import Checker, PlanningPolicy, Policy

log = logging.getLogger(__name__)


def find(family: Family, name: str) -> Any:
    """The class or function that is registered under `name`.

    Raises:
        SettingsError: nothing is registered under the name, or a module of KARMA_PLUGINS cannot be used.
    """
    built_in, group = FAMILIES[family], f"karma.{family}"
    if name in built_in:
        module, _, attribute = built_in[name].path.partition(":")
        return getattr(import_module(module), attribute)
    installed = {point.name: point for point in entry_points(group=group)}
    if name in installed:
        return installed[name].load()
    named = _from_environment(group)
    if name in named:
        return named[name]
    raise _unknown(family, name, {*built_in, *installed, *named})


def check(family: Family, name: str) -> None:
    """Refuse a name that nothing is registered under, without importing what is.

    Raises:
        SettingsError: suggests the nearest name; or a module of KARMA_PLUGINS cannot be used.
    """
    group = f"karma.{family}"
    known = {*FAMILIES[family], *(point.name for point in entry_points(group=group))}
    if name not in known:
        known |= _from_environment(group).keys()
    if name not in known:
        raise _unknown(family, name, known)


def _unknown(family: Family, name: str, known: set[str]) -> SettingsError:
    kind = "policy" if family == "policies" else family.removesuffix("s")
    return SettingsError(f"no {kind} is called {name!r}{did_you_mean(name, known)}")


@cache
def instance(family: Family, name: str) -> Any:
    """This process's single instance, made at the first call; a registered instance is returned as it is.

    Raises:
        SettingsError: nothing is registered under the name.
    """
    registered = find(family, name)
    return registered() if callable(registered) else registered


def policy_named(name: str) -> Policy:
    """The policy of that name, built in or a plug-in.

    Raises:
        SettingsError: no policy has the name.
    """
    return cast("Policy", instance("policies", name))


@cache
def planner_named(name: str) -> PlanningPolicy:
    """The policy that plans for the policy of that name: itself, or `random` if it does not plan.

    A plug-in must be installed only for matching; if the gateway does not have it, random models answer.
    """
    try:
        policy = policy_named(name)
    except SettingsError as cause:
        log.warning("random models answer the prompts of policy %s: %s", name, cause)
        policy = policy_named("random")
    return cast("PlanningPolicy", policy if hasattr(policy, "plan") else policy_named("random"))


def checker(name: str) -> Checker:
    """The checker of that name, built in or a plug-in.

    Raises:
        SettingsError: no checker has the name, or it is not callable.
    """
    registered = find("checkers", name)
    if not callable(registered):
        raise SettingsError(
            f"checker {name!r} is a {type(registered).__name__}; expected a function of a text and a reference that "
            "returns whether the text is right"
        )
    return cast("Checker", registered)


def _from_environment(group: str) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for module_name in filter(None, os.environ.get("KARMA_PLUGINS", "").split(",")):
        try:
            parts.update(import_module(module_name.strip()).PLUGINS.get(group, {}))
        except (ImportError, AttributeError) as cause:
            missing = isinstance(cause, ModuleNotFoundError) and cause.name == module_name.strip()
            hint = ". Install it, or name its folder in PYTHONPATH" if missing else ""
            raise SettingsError(f"KARMA_PLUGINS names {module_name!r}, which cannot be used: {cause}{hint}") from cause
    return parts
