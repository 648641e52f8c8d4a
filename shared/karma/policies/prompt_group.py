"""The input of planning: prompts of one skill, and the models that may answer them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma.ranking.snapshot import ModelTable, PairTable, Snapshot

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Picks = NDArray[np.intp]
Seeds = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class PromptGroup:
    """n prompts of one skill and the m models that may answer them, in alphabetical order.

    Random numbers come from the prompts' seeds, so a plan depends on the group alone.
    """

    rows: list[int]  # of the prompts in their batch, n
    seeds: Seeds  # [n]
    models: tuple[str, ...]
    number: int  # of answers that each prompt gets
    snapshot: Snapshot
    skill: str | None
    target: int | None  # index of the model that answers every prompt
    explored: Picks  # the two models that an exploring prompt compares, [n, 2]; −1 where a prompt does not explore

    def vector(self, table: ModelTable) -> Array:
        """`mean` or `deviation` of the models in the group's skill, logits, [m]."""
        return self.snapshot.vector(table, self.models, self.skill)

    def matrix(self, table: PairTable) -> Array:
        """A table of the snapshot for every two models in the group's skill, [m, m]."""
        return self.snapshot.matrix(table, self.models, self.skill)

    def comparable(self) -> Mask:
        """Which two models can be compared, [m, m]: different models, the first of them the target if there is one."""
        mask = ~np.eye(len(self.models), dtype=bool)
        if self.target is not None:
            mask[np.arange(len(mask)) != self.target, :] = False
        return mask

    def uniforms(self, columns: int, stream: int = 0) -> Array:
        """Numbers in [0, 1) from each prompt's seed, [n, columns]: SplitMix64 (Steele, Lea & Flood 2014).

        A generator object per prompt would cost more than the plan. `stream` separates independent uses.
        """
        steps = np.arange(1 + (stream << 20), 1 + (stream << 20) + columns, dtype=np.uint64)
        z = _mixed(self.seeds)[:, None] + steps * np.uint64(0x9E3779B97F4A7C15)
        # 32 bits: such a number times a sum stays below that sum.
        return (_mixed(z) >> np.uint64(32)).astype(np.float64) * 2.0**-32

    def posterior_draws(self) -> Array:
        """One draw of every model's competency per prompt, logits, [n, m], by Box & Muller (1958)."""
        radius = np.sqrt(-2.0 * np.log1p(-self.uniforms(len(self.models), stream=4)))
        normals = radius * np.cos(2.0 * np.pi * self.uniforms(len(self.models), stream=5))
        draws: Array = self.vector("mean") + self.vector("deviation") * normals
        return draws

    def greatest(self, scores: Array) -> Picks:
        """The models with the highest scores for each prompt, best first, [n, `number`]."""
        return np.argsort(-scores, axis=1)[:, : self.number]


def _mixed(z: Seeds) -> Seeds:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
