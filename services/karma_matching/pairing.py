"""Pairing: pairs the responses to one prompt under a policy, and records the reasons.

The rules that all policies share are here: only usable responses, no near-duplicates, no lengths that differ more than
the stream allows, and, with a target, only pairs with a response of the target. A policy (`karma.policies`) chooses
among the remaining pairs. Its random draws are seeded by the prompt, so that a prompt matched twice under one snapshot
gives the same pairs. In a rejudged stream all pairs of its base are formed again, and in one of
canaries the two given responses: there nothing is chosen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from karma.config.canaries import ATTACKED, RIGHT
from karma.config.derived_streams import CANARIES, REJUDGE
from karma.plugins import policy_named
from karma.plugins.protocols import Policy
from karma.policies.candidates import Candidate, Candidates, Choice
from karma.policies.similarity import near_duplicates
from karma.ranking.snapshot import Snapshot
from karma.store.stored_pairs import StoredPair

Reasons = dict[str, float | str | None]


@dataclass(frozen=True)
class FormedPair:
    """Two responses, a < b, with the reasons. Gap and win probability are of a's model against b's."""

    a: int
    b: int
    reasons: Reasons
    canary: tuple[str, bool] | None = None  # its answer, a or b; whether the other response has an attack inside


def form(
    candidates: Sequence[Candidate],
    policy: str | Policy,
    count: int,
    snapshot: Snapshot,
    skill: str | None,
    seed: int,
    target: str | None = None,
    max_length_ratio: float | None = None,
) -> tuple[list[FormedPair], str]:
    """Pair the responses to one prompt.

    The result depends on the arguments alone, and not on the order of the candidates.

    Args:
        candidates: the responses without a failure; those with a blank text are excluded.
        policy: a policy or its name.
        count: most pairs to form; 0 for no limit.
        snapshot: competencies; a model that is not in it is treated as an unseen model.
        skill: the prompt's skill; None or an unknown skill means the overall competency.
        seed: the prompt's seed.
        target: a model that every pair includes.
        max_length_ratio: most characters of a pair's longer response per character of the shorter one; None: any.

    Returns:
        The pairs in the order of their ids and an empty text; or no pairs and the reason.

    Raises:
        SettingsError: no policy has the name.
    """
    rule = policy_named(policy) if isinstance(policy, str) else policy
    usable = tuple(sorted((c for c in candidates if c.text.strip()), key=lambda candidate: candidate.response_id))
    if len(usable) < 2:
        return [], "fewer than two usable answers"
    aimed = [target is None or candidate.model == target for candidate in usable]
    if not any(aimed):
        return [], "no answer of the target"
    same = near_duplicates([candidate.text for candidate in usable])
    pairs = [(x, y) for x, y in combinations(range(len(usable)), 2) if (aimed[x] or aimed[y]) and (x, y) not in same]
    if not pairs:
        return [], "near-duplicates only"
    if max_length_ratio is not None:
        lengths = [len(candidate.text) for candidate in usable]
        pairs = [(x, y) for x, y in pairs if _are_near(lengths[x], lengths[y], max_length_ratio)]
        if not pairs:
            return [], "lengths beyond max_length_ratio only"
    allowed = Candidates(usable, pairs, snapshot, skill)
    limit = min(count, len(pairs)) if count else len(pairs)
    choices, reason = rule.choose(allowed, limit, random.Random(f"match {seed}"))  # noqa: S311 - a reproducible draw, no secret
    formed = [_formed(allowed, choice, rule.name) for choice in sorted(choices, key=lambda choice: choice.pair)]
    return formed, "" if formed else reason


def form_again(
    candidates: Sequence[Candidate], stored: Sequence[StoredPair], base: str, snapshot: Snapshot, skill: str | None
) -> tuple[list[FormedPair], str]:
    """The stored pairs of a prompt's copy in the stream `base`, of the copied responses; none is left out or chosen.

    What competencies say of a pair is what they say now.

    Returns:
        As `form`; a pair whose response is missing is left out.
    """
    usable = tuple(sorted(candidates, key=lambda candidate: candidate.response_id))
    places = {(candidate.model, candidate.sample): place for place, candidate in enumerate(usable)}
    found: dict[tuple[int, int], StoredPair] = {}
    for pair in stored:
        sides = places.get((pair.model_a, pair.sample_a)), places.get((pair.model_b, pair.sample_b))
        if sides[0] is not None and sides[1] is not None:
            found[min(sides[0], sides[1]), max(sides[0], sides[1])] = pair
    if not found:
        return [], "no stored pair"
    allowed = Candidates(usable, sorted(found), snapshot, skill)
    choices = [
        Choice(
            index, 1.0, f"it is the pair {found[sides].id} of the stream {base}, by the policy {found[sides].policy}"
        )
        for index, sides in enumerate(allowed.pairs)
    ]
    return [_formed(allowed, choice, REJUDGE) for choice in choices], ""


def form_canary(candidates: Sequence[Candidate], snapshot: Snapshot, skill: str | None) -> tuple[list[FormedPair], str]:
    """The pair of a canary, with its answer among the reasons: samples say it (`karma.config.canaries`).

    Returns:
        As `form`.
    """
    sides = sorted(candidates, key=lambda candidate: candidate.response_id)
    if len(sides) != 2 or RIGHT not in (samples := [side.sample for side in sides]):
        return [], "no canary"
    allowed = Candidates(tuple(sides), [(0, 1)], snapshot, skill)
    formed = _formed(allowed, Choice(0, 1.0, "it is a canary, a pair whose answer is known"), CANARIES)
    answer = "ab"[samples.index(RIGHT)], ATTACKED in samples
    return [replace(formed, canary=answer)], ""


def _are_near(first: int, second: int, most: float) -> bool:
    """Whether the longer of two lengths is at most `most` times the shorter; exports ask the same of the store."""
    return max(first, second) <= most * min(first, second)


def _formed(candidates: Candidates, choice: Choice, policy: str) -> FormedPair:
    x, y = candidates.pairs[choice.pair]
    a, b = candidates.candidates[x], candidates.candidates[y]
    snapshot, skill = candidates.snapshot, candidates.skill
    known = snapshot.between(a.model, b.model, skill)
    reasons: Reasons = {
        "policy": policy,
        "why": choice.why,
        "probability": choice.probability,
        **vars(known),
        **{f"competency_{side}": snapshot.competency(one.model, skill) for side, one in (("a", a), ("b", b))},
        "likeness": candidates.similarity(choice.pair),
    }
    return FormedPair(a.response_id, b.response_id, reasons)
