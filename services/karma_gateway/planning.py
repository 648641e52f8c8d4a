"""Planning: chooses the models that answer each prompt, so that the stream's policy can pair their responses.

A plan has two to four generations per prompt instead of one per model of the pool, and none that cannot be paired. The
rules of each policy are in `karma.policies`. All choices are drawn from the prompts' seeds, so a plan depends on its
arguments alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from karma.plugins import planner_named
from karma.plugins.registry import policy_kind
from karma.policies.exploration import exploring
from karma.policies.prompt_group import PromptGroup
from karma.ranking.snapshot import Snapshot

Plan = list[tuple[tuple[str, int], ...]]

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class PlannedPrompt:
    """The input of planning for a prompt."""

    seed: int
    skill: str | None


def can_pair(models: Collection[str], policy: str, target: str | None = None) -> bool:
    """Whether any pair can be formed of answers by these models: two of them, or samples of one, with the target."""
    return (target is None or target in models) and len(set(models)) >= (
        1 if policy_kind(policy).samples_one_model else 2
    )


def plan(
    prompts: Sequence[PlannedPrompt],
    models: Sequence[str],
    policy: str,
    responses_per_prompt: int,
    snapshot: Snapshot,
    target: str | None = None,
    explore_share: float = 0.1,
) -> Plan:
    """The (model, sample) pairs that answer each prompt, by the stream's policy (`karma.policies`).

    A share of the prompts explores if the policy has a rule for it (`karma.policies.exploration`).

    Args:
        prompts: n prompts, of any skills.
        models: names of the models that may be called now.
        policy: the stream's policy.
        responses_per_prompt: at least 2, or 0 for all models (for samples of one model: 2).
        snapshot: competencies; a model that is not in it is treated as an unseen model.
        target: a model that answers every prompt.
        explore_share: share of the prompts that explore once competencies are known; before, all do. 0: none ever.

    Returns:
        One tuple per prompt. All are empty if no pair could be formed: the target is not among the models, or there is
        only one model and the policy does not pair its samples.

    Raises:
        ValueError: `responses_per_prompt` is 1 or negative.
    """
    if responses_per_prompt == 1 or responses_per_prompt < 0:
        raise ValueError(
            f"responses_per_prompt is {responses_per_prompt}; a pair needs at least 2 (0 asks every model)"
        )
    if not can_pair(models, policy, target):
        return [()] * len(prompts)
    names, samples_one_model = tuple(sorted(set(models))), policy_kind(policy).samples_one_model
    number = (responses_per_prompt or 2) if samples_one_model else min(responses_per_prompt or len(names), len(names))
    planner, index = planner_named(policy), None if target is None else names.index(target)
    seeds = np.array([prompt.seed & _MASK for prompt in prompts], dtype=np.uint64)
    groups = [
        PromptGroup(rows, seeds[rows], names, number, snapshot, skill, index, np.full((len(rows), 2), -1))
        for skill, rows in _by_skill(prompts, snapshot).items()
    ]
    if explorable := getattr(planner, "explorable", None):
        groups = exploring(groups, explorable, seeds, explore_share, getattr(planner, "explores_while_unknown", True))
    once = [(name, 0) for name in names]
    planned: Plan = [()] * len(prompts)
    for group in groups:
        for row, picked in zip(group.rows, planner.plan(group).tolist(), strict=True):
            if len(set(picked)) == len(picked):
                planned[row] = tuple([once[model] for model in picked])
            else:  # several samples of a model
                planned[row] = tuple((names[model], picked[:turn].count(model)) for turn, model in enumerate(picked))
    return planned


def _by_skill(prompts: Sequence[PlannedPrompt], snapshot: Snapshot) -> dict[str | None, list[int]]:
    """Rows of the prompts by skill; skills that are not in the snapshot share the group None."""
    groups: dict[str | None, list[int]] = defaultdict(list)
    for row, prompt in enumerate(prompts):
        groups[prompt.skill if snapshot.row(prompt.skill) else None].append(row)
    return groups
