"""Planning: which models answer each prompt of a batch, so that the stream's policy can pair their answers.

Two to four generations a prompt, not one per model of the pool, and none in vain. All choices are numbers drawn from
the prompts' seeds, so a plan depends on its arguments alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma.ranking.snapshot import KIN_COMPARISONS, KIN_THRESHOLD, Snapshot
from karma_gateway.exploration import Explorer, explored_share

Array = NDArray[np.float64]
Picks = NDArray[np.intp]
Plan = list[tuple[tuple[str, int], ...]]

#: Policies whose answers serve to learn competencies; the others are baselines or draw from the posterior anyway.
_EXPLORING = frozenset({"informative", "kin"})

_LEAST_INFORMATION = 1e-9  # bits: a pair that is all there is can be drawn, however far apart
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class PlannedPrompt:
    """What planning must know of a prompt."""

    seed: int
    skill: str | None


@dataclass(frozen=True, eq=False)
class _Bench:
    """The m eligible models as the snapshot sees them in one skill, with the target's place among them."""

    snapshot: Snapshot
    models: tuple[str, ...]
    skill: str | None
    target: int | None


def plan(
    prompts: Sequence[PlannedPrompt],
    models: Sequence[str],
    policy: str,
    responses_per_prompt: int,
    snapshot: Snapshot,
    target: str | None = None,
    explore_share: float = 0.1,
) -> Plan:
    """The (model, sample) pairs that answer each prompt.

    - `informative`: the first two in proportion to the information of their comparison, each further one in
      proportion to its information with those drawn.
    - `kin`: a model at random and its nearest kin, among pairs that matching will accept.
    - `best-vs-worst`, `best-vs-random`: the extremes, or the best and others at random, of one draw from the
      competencies' posterior a prompt (Thompson 1933, Biometrika 25), so that who leads is found out on the way.
    - `self`: several samples of one model.
    - `random`, `all-pairs` and plug-ins: models at random.

    With `informative` and `kin`, a share of the prompts explores (`exploring`).

    Args:
        prompts: n prompts, of any skills.
        models: the names of those that may be asked now.
        policy: the stream's policy.
        responses_per_prompt: at least 2, or 0 for all models (for `self`: 2).
        snapshot: competencies; models unknown to it are unseen models.
        target: a model that answers every prompt.
        explore_share: of the prompts, once competencies are known; up to five times as many while nothing is known.

    Returns:
        One tuple a prompt. All are empty where no pair could come of asking now: the target is not among the models,
        or only one model is and the policy is not `self`.

    Raises:
        ValueError: `responses_per_prompt` is 1 or negative.
    """
    if responses_per_prompt == 1 or responses_per_prompt < 0:
        raise ValueError(
            f"responses_per_prompt is {responses_per_prompt}; a pair needs at least 2 (0 asks every model)"
        )
    pool = tuple(sorted(set(models)))
    if (target is not None and target not in pool) or len(pool) < (1 if policy == "self" else 2):
        return [()] * len(prompts)
    if policy == "self":
        return _samples(prompts, pool, target, responses_per_prompt or 2)
    wanted = min(responses_per_prompt or len(pool), len(pool))
    choose = _CHOOSERS.get(policy, _uniform)
    seeds = np.array([prompt.seed & _MASK for prompt in prompts], dtype=np.uint64)
    benches = [
        (_Bench(snapshot, pool, skill, None if target is None else pool.index(target)), places)
        for skill, places in _by_skill(prompts, snapshot).items()
    ]
    pairs = _explored(benches, policy, seeds, explore_share) if policy in _EXPLORING else None
    planned: Plan = [()] * len(prompts)
    for bench, places in benches:
        picks = choose(bench, wanted, seeds[places], None if pairs is None else pairs[places])
        for place, row in zip(places, picks.tolist(), strict=True):
            planned[place] = tuple((pool[column], 0) for column in row)
    return planned


def _by_skill(prompts: Sequence[PlannedPrompt], snapshot: Snapshot) -> dict[str | None, list[int]]:
    """Places of the prompts by the skill they are planned for; skills that the snapshot does not know are one group."""
    groups: dict[str | None, list[int]] = {}
    for place, prompt in enumerate(prompts):
        groups.setdefault(prompt.skill if snapshot.row(prompt.skill) else None, []).append(place)
    return groups


def _samples(prompts: Sequence[PlannedPrompt], pool: tuple[str, ...], target: str | None, number: int) -> Plan:
    if target is not None:
        return [tuple((target, sample) for sample in range(number))] * len(prompts)
    seeds = np.array([prompt.seed & _MASK for prompt in prompts], dtype=np.uint64)
    chosen = (_uniforms(seeds, 1)[:, 0] * len(pool)).astype(np.intp).tolist()
    return [tuple((pool[column], sample) for sample in range(number)) for column in chosen]


def _explored(
    benches: Sequence[tuple[_Bench, list[int]]], policy: str, seeds: NDArray[np.uint64], explore_share: float
) -> Picks:
    """The pair that each exploring prompt compares, [n, 2]; −1 where the prompt does not explore.

    How much is explored goes by skill. What is compared goes by the overall competency, in which every skill shares:
    one explorer a batch, or the skills of a batch would all ask the same.
    """
    pairs = np.full((len(seeds), 2), -1, dtype=np.intp)
    uniforms = _uniforms(seeds, 1, stream=1)[:, 0]
    allowed: dict[int, NDArray[np.bool_]] = {}
    for bench, places in benches:
        variance = bench.snapshot.matrix("gap_deviation", bench.models, bench.skill) ** 2
        share = explored_share(explore_share, variance, bench.snapshot.prior_gap_variance(bench.skill))
        explorable = _explorable(bench, policy)
        if explorable.any():
            allowed |= {place: explorable for place in places if uniforms[place] < share}
    if not allowed:
        return pairs
    bench = benches[0][0]
    noise = _uniforms(seeds[[min(allowed)]], len(bench.models) ** 2, stream=2).reshape(2 * (len(bench.models),))
    explorer = Explorer(
        bench.snapshot.vector("mean", bench.models, None),
        bench.snapshot.matrix("gap_deviation", bench.models, None) ** 2,
        bench.snapshot.matrix("information", bench.models, None),
        noise,
    )
    for place in sorted(allowed):
        pairs[place] = explorer.next_pair(allowed[place])
    return pairs


def _explorable(bench: _Bench, policy: str) -> NDArray[np.bool_]:
    """Which pairs may be explored, [m, m]."""
    explorable = ~np.eye(len(bench.models), dtype=bool)
    if policy == "kin":
        shared = bench.snapshot.matrix("comparisons", bench.models, bench.skill)
        explorable &= shared < KIN_COMPARISONS  # beyond, matching holds them to the threshold
    if bench.target is not None:
        explorable[np.arange(len(explorable)) != bench.target, :] = False
    return explorable


def _informative(bench: _Bench, wanted: int, seeds: NDArray[np.uint64], first_pairs: Picks | None) -> Picks:
    bits = np.maximum(bench.snapshot.matrix("information", bench.models, bench.skill), _LEAST_INFORMATION)
    np.fill_diagonal(bits, 0.0)
    return _sequentially(bits, bench.target, wanted, seeds, first_pairs)


def _kin(bench: _Bench, wanted: int, seeds: NDArray[np.uint64], first_pairs: Picks | None) -> Picks:
    """A model at random (or the target), then those nearest to it; kinship decides, then the gap while it is unknown.

    Pairs that matching would refuse come last, and a model that has only such pairs is not drawn first.
    """
    kinship = bench.snapshot.matrix("kinship", bench.models, bench.skill)
    gap = np.abs(bench.snapshot.matrix("gap", bench.models, bench.skill))
    shared = bench.snapshot.matrix("comparisons", bench.models, bench.skill)
    settled = (shared >= KIN_COMPARISONS) & ~np.isnan(kinship)
    accepted = ~settled | (np.nan_to_num(kinship) >= KIN_THRESHOLD)
    # Known kin come in order of kinship (3 to 4), the untried in order of the gap (1 to 2), the refused last (below 1).
    nearness = np.where(
        settled & accepted, 3.0 + np.nan_to_num(kinship), np.where(accepted, 1.0, 0.0) + 1.0 / (1.0 + gap)
    )
    np.fill_diagonal(nearness, -np.inf)
    size = len(bench.models)
    if bench.target is not None:
        anchors = np.full(len(seeds), bench.target)
    else:
        usable = np.flatnonzero((nearness >= 1.0).any(axis=1))
        usable = usable if len(usable) else np.arange(size)
        anchors = usable[(_uniforms(seeds, 1)[:, 0] * len(usable)).astype(np.intp)]
    order = nearness[anchors] + 1e-9 * _uniforms(seeds, size, stream=3)  # equals in any order
    if first_pairs is not None:
        explored = first_pairs[:, 0] >= 0
        anchors = np.where(explored, first_pairs[:, 0], anchors)
        order[explored] = nearness[anchors[explored]]
        order[explored, first_pairs[explored, 1]] = np.inf
    return np.column_stack([anchors, np.argsort(-order, axis=1)[:, : wanted - 1]])


def _best_and_worst(bench: _Bench, wanted: int, seeds: NDArray[np.uint64], first_pairs: Picks | None) -> Picks:
    draws = _posterior_draws(bench, seeds)
    if bench.target is not None:
        distance = np.abs(draws - draws[:, bench.target, None])
        distance[:, bench.target] = np.inf  # the target itself comes first
        return np.argsort(-distance, axis=1)[:, :wanted]
    order = np.argsort(-draws, axis=1)
    ends = [place // 2 if place % 2 == 0 else -1 - place // 2 for place in range(wanted)]  # best, worst, second best…
    return order[:, ends]


def _best_and_random(bench: _Bench, wanted: int, seeds: NDArray[np.uint64], first_pairs: Picks | None) -> Picks:
    order = _uniforms(seeds, len(bench.models), stream=3)
    rows = np.arange(len(seeds))
    order[rows, np.argmax(_posterior_draws(bench, seeds), axis=1)] = 2.0
    if bench.target is not None:
        order[:, bench.target] = 3.0
    return np.argsort(-order, axis=1)[:, :wanted]


def _uniform(bench: _Bench, wanted: int, seeds: NDArray[np.uint64], first_pairs: Picks | None) -> Picks:
    order = _uniforms(seeds, len(bench.models), stream=3)
    if bench.target is not None:
        order[:, bench.target] = 2.0
    return np.argsort(-order, axis=1)[:, :wanted]


_CHOOSERS: dict[str, Callable[[_Bench, int, NDArray[np.uint64], Picks | None], Picks]] = {
    "informative": _informative,
    "kin": _kin,
    "best-vs-worst": _best_and_worst,
    "best-vs-random": _best_and_random,
}


def _sequentially(
    weights: Array, target: int | None, wanted: int, seeds: NDArray[np.uint64], first_pairs: Picks | None
) -> Picks:
    """Draw models one by one: the first two as a pair in proportion to its weight, each further by its sum of weights.

    `weights` is symmetric, with a diagonal of 0 and positive elsewhere.
    """
    size, rows = len(weights), np.arange(len(seeds))
    uniforms = _uniforms(seeds, wanted)
    picks = np.empty((len(seeds), wanted), dtype=np.intp)
    if target is not None:
        picks[:, 0] = target
        picks[:, 1] = _by_weight(weights[picks[:, 0]], uniforms[:, 1])
    else:
        sums = np.cumsum(weights)
        places = np.searchsorted(sums, uniforms[:, 0] * sums[-1], side="right")
        picks[:, 0], picks[:, 1] = places // size, places % size
    if first_pairs is not None:
        explored = first_pairs[:, 0] >= 0
        picks[explored, :2] = first_pairs[explored]
    for turn in range(2, wanted):
        with_drawn = weights[picks[:, :turn]].sum(axis=1)
        with_drawn[rows[:, None], picks[:, :turn]] = 0.0
        picks[:, turn] = _by_weight(with_drawn, uniforms[:, turn])
    return picks


def _by_weight(weights: Array, uniforms: Array) -> Picks:
    """One column per row, in proportion to the weights."""
    sums = np.cumsum(weights, axis=1)
    columns: Picks = (sums <= (uniforms * sums[:, -1])[:, None]).sum(axis=1).astype(np.intp)
    return columns


def _posterior_draws(bench: _Bench, seeds: NDArray[np.uint64]) -> Array:
    """One draw of every model's competency a prompt, [n, m], by Box & Muller (1958)."""
    mean = bench.snapshot.vector("mean", bench.models, bench.skill)
    deviation = bench.snapshot.vector("deviation", bench.models, bench.skill)
    radius = np.sqrt(-2.0 * np.log1p(-_uniforms(seeds, len(mean), stream=4)))
    normals = radius * np.cos(2.0 * np.pi * _uniforms(seeds, len(mean), stream=5))
    draws: Array = mean + deviation * normals
    return draws


def _uniforms(seeds: NDArray[np.uint64], number: int, stream: int = 0) -> Array:
    """Numbers in [0, 1) from each seed, [n, number]: SplitMix64 (Steele, Lea & Flood 2014), whole batches at once.

    A generator object a prompt would cost more than the plan. `stream` tells independent uses apart.
    """
    steps = np.arange(1 + (stream << 20), 1 + (stream << 20) + number, dtype=np.uint64)
    z = _mixed(seeds)[:, None] + steps * np.uint64(0x9E3779B97F4A7C15)
    return (_mixed(z) >> np.uint64(32)).astype(np.float64) * 2.0**-32  # 32 bits: times a sum it stays below that sum


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
