"""Matching policies: which responses to one prompt are paired, and why.

`form` keeps what all policies share: usable answers only, no near-duplicates, the target's answers where there is a
target, the reasons written down. A policy only chooses among the pairs that are left. What it draws is seeded by the
prompt, so that a prompt matched twice under one snapshot gives the same pairs.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from karma.plugins import find
from karma.policies.candidates import Candidate, Choice, Pool
from karma.policies.sampling import draw, greatest
from karma.policies.similarity import near_duplicates
from karma.ranking.snapshot import KIN_COMPARISONS, KIN_THRESHOLD, Snapshot

__all__ = ["POLICIES", "Candidate", "Choice", "FormedPair", "Policy", "Pool", "form", "policy_named"]

Reasons = dict[str, float | str | None]

TOO_FEW = "fewer than two usable answers"
NO_TARGET = "no answer of the target"
DUPLICATES = "near-duplicates only"
NO_KIN = "nothing above the kinship threshold"
NO_SELF = "no two answers of one model"


@dataclass(frozen=True)
class FormedPair:
    """Two responses, a < b, with the reasons why. Gap and win probability are those of a's model against b's."""

    a: int
    b: int
    reasons: Reasons


class Policy(Protocol):
    """A rule that chooses pairs; plug-ins register an instance under the entry point group `karma.policies`."""

    @property
    def name(self) -> str:
        """The name under which pairs remember the policy."""
        ...

    def choose(self, pool: Pool, count: int, rng: random.Random) -> tuple[list[Choice], str]:
        """At most `count` of the pool's pairs (at least one is there), and the reason where it chooses none."""
        ...


@dataclass(frozen=True)
class Informative:
    """Draws pairs of models in proportion to the information of their comparison."""

    name: str = "informative"

    def choose(self, pool: Pool, count: int, rng: random.Random) -> tuple[list[Choice], str]:
        places = pool.between_models()
        bits = pool.values("information")
        drawn = draw([bits[place] for place in places], count, rng)
        return [Choice(places[index], chance, "drawn by information") for index, chance in drawn], ""


@dataclass(frozen=True)
class Kin:
    """The paper's rule (arXiv 2502.18744): the pair of greatest kinship × likeness of the responses.

    Models that share fewer than `comparisons` verdicts cannot be held to a threshold: they are paired, nearest first,
    only where no pair is known to be kin.
    """

    name: str = "kin"
    threshold: float = KIN_THRESHOLD
    comparisons: float = KIN_COMPARISONS

    def choose(self, pool: Pool, count: int, rng: random.Random) -> tuple[list[Choice], str]:
        places = pool.between_models()
        kinship, shared, gap = pool.values("kinship"), pool.values("comparisons"), pool.values("gap")
        settled = [p for p in places if shared[p] >= self.comparisons and not math.isnan(kinship[p])]
        kin = [p for p in settled if kinship[p] >= self.threshold]
        if kin:
            best = greatest([(kinship[p] * pool.likeness(p),) for p in kin], count, rng)
            return [Choice(kin[index], chance, "greatest kinship and likeness") for index, chance in best], ""
        held = set(settled)
        unsettled = [p for p in places if p not in held]
        if not unsettled:
            return [], NO_KIN
        nearest = greatest([(-abs(gap[p]), pool.likeness(p)) for p in unsettled], count, rng)
        return [Choice(unsettled[index], chance, "exploring: nearest kin by rank") for index, chance in nearest], ""


@dataclass(frozen=True)
class Uniform:
    """Draws pairs with equal chances; `all-pairs` is this policy without a limit on their number."""

    name: str
    why: str

    def choose(self, pool: Pool, count: int, rng: random.Random) -> tuple[list[Choice], str]:
        drawn = draw([1.0] * len(pool.pairs), count, rng)
        return [Choice(place, chance, self.why) for place, chance in drawn], ""


@dataclass(frozen=True)
class BestVersusWorst:
    """The pairs of widest difference in quality."""

    name: str = "best-vs-worst"

    def choose(self, pool: Pool, count: int, rng: random.Random) -> tuple[list[Choice], str]:
        quality = pool.qualities()
        widest = greatest([(abs(quality[x] - quality[y]),) for x, y in pool.pairs], count, rng)
        return [Choice(place, chance, "best against worst") for place, chance in widest], ""


@dataclass(frozen=True)
class BestVersusRandom:
    """The best response against others at random, as in UltraFeedback binarized (Tunstall et al. 2023, Zephyr)."""

    name: str = "best-vs-random"

    def choose(self, pool: Pool, count: int, rng: random.Random) -> tuple[list[Choice], str]:
        quality = pool.qualities()
        partners: dict[int, list[int]] = {}
        for place, (x, y) in enumerate(pool.pairs):
            partners.setdefault(x, []).append(place)
            partners.setdefault(y, []).append(place)
        highest = max(quality[candidate] for candidate in partners)
        tops = [candidate for candidate in sorted(partners) if quality[candidate] == highest]
        own = partners[rng.choice(tops)]
        return [
            Choice(place, self._chance(pool.pairs[place], tops, partners, count), "best against random")
            for place in rng.sample(own, min(count, len(own)))
        ], ""

    @staticmethod
    def _chance(pair: tuple[int, int], tops: list[int], partners: Mapping[int, list[int]], count: int) -> float:
        """Of a pair to be drawn, over the equally good candidates that can be the best."""
        return sum(min(1.0, count / len(partners[top])) / len(tops) for top in tops if top in pair)


@dataclass(frozen=True)
class SelfPlay:
    """Two samples of one model."""

    name: str = "self"

    def choose(self, pool: Pool, count: int, rng: random.Random) -> tuple[list[Choice], str]:
        names = [candidate.model for candidate in pool.candidates]
        places = [place for place, (x, y) in enumerate(pool.pairs) if names[x] == names[y]]
        if not places:
            return [], NO_SELF
        drawn = draw([1.0] * len(places), count, rng)
        return [Choice(places[index], chance, "two samples of one model") for index, chance in drawn], ""


_BUILT_IN: tuple[Policy, ...] = (
    Informative(),
    Kin(),
    Uniform("random", "drawn at random"),
    BestVersusWorst(),
    BestVersusRandom(),
    Uniform("all-pairs", "every pair"),
    SelfPlay(),
)
POLICIES: dict[str, Policy] = {policy.name: policy for policy in _BUILT_IN}


@functools.cache
def policy_named(name: str) -> Policy:
    """The policy of that name, built in or a plug-in.

    Raises:
        SettingsError: no policy has the name.
    """
    return cast(Policy, find("policies", name, POLICIES))


def form(
    candidates: Sequence[Candidate],
    policy: str | Policy,
    count: int,
    snapshot: Snapshot,
    skill: str | None,
    seed: int,
    target: str | None = None,
) -> tuple[list[FormedPair], str]:
    """Pair the responses to one prompt.

    The result depends on the arguments alone, and not on the order of the candidates.

    Args:
        candidates: the responses that are no failures; blank texts are left out.
        policy: a policy or its name.
        count: pairs wanted at most; 0 for no limit.
        snapshot: competencies; models unknown to it are unseen models.
        skill: the prompt's skill; None or an unknown one reads the overall competency.
        seed: the prompt's.
        target: a model of which every pair holds an answer.

    Returns:
        The pairs, in the order of their ids, and an empty text; or no pair and the reason.

    Raises:
        SettingsError: no policy has the name.
    """
    rule = policy_named(policy) if isinstance(policy, str) else policy
    usable = tuple(sorted((c for c in candidates if c.text.strip()), key=lambda candidate: candidate.response_id))
    if len(usable) < 2:
        return [], TOO_FEW
    aimed = [target is None or candidate.model == target for candidate in usable]
    if not any(aimed):
        return [], NO_TARGET
    same = near_duplicates([candidate.text for candidate in usable])
    pairs = [
        (x, y)
        for x in range(len(usable))
        for y in range(x + 1, len(usable))
        if (aimed[x] or aimed[y]) and (x, y) not in same
    ]
    if not pairs:
        return [], DUPLICATES
    pool = Pool(usable, pairs, snapshot, skill)
    limit = min(count, len(pairs)) if count else len(pairs)
    choices, reason = rule.choose(pool, limit, random.Random(f"match {seed}"))  # noqa: S311 - a reproducible draw, no secret
    formed = [_formed(pool, choice, rule.name) for choice in sorted(choices, key=lambda choice: choice.pair)]
    return formed, "" if formed else reason


def _formed(pool: Pool, choice: Choice, policy: str) -> FormedPair:
    x, y = pool.pairs[choice.pair]
    a, b = pool.candidates[x], pool.candidates[y]
    known = pool.snapshot.between(a.model, b.model, pool.skill)
    return FormedPair(
        a.response_id,
        b.response_id,
        {
            "policy": policy,
            "why": choice.why,
            "probability": choice.probability,
            "kinship": known.kinship,
            "gap": known.gap,
            "gap_deviation": known.gap_deviation,
            "information": known.information,
            "win_probability": known.win_probability,
            "comparisons": known.comparisons,
            "likeness": pool.likeness(choice.pair),
        },
    )
