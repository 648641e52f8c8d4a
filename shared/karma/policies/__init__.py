"""Matching policies, one class a file: which models answer a prompt (`plan`), which responses are paired (`choose`).

The gateway plans and matching pairs, both with the policy that the stream names.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, cast

from karma.errors import SettingsError
from karma.plugins import instance

if TYPE_CHECKING:
    from karma.extension_points import PlanningPolicy, Policy

log = logging.getLogger(__name__)


def policy_named(name: str) -> Policy:
    """The policy of that name, built in or a plug-in.

    Raises:
        SettingsError: no policy has the name.
    """
    return cast("Policy", instance("policies", name))


@cache
def planner_named(name: str) -> PlanningPolicy:
    """The policy that plans for the policy of that name: itself, or `random` where it does not plan.

    A plug-in needs to be installed only where it matches; where it is not installed, models at random answer.
    """
    try:
        policy = policy_named(name)
    except SettingsError as cause:
        log.warning("models at random answer the prompts of policy %s: %s", name, cause)
        policy = policy_named("random")
    return cast("PlanningPolicy", policy if hasattr(policy, "plan") else policy_named("random"))
