"""The snapshot: the result of one refit as frozen tables that planning, matching and the monitor look up.

Every table has an additional row and column for an *unseen* model: one that the snapshot does not contain. The refit
fills it from the prior, so a cold start needs no special case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from math import isnan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from karma.errors import KarmaError
from karma.ranking.common_change import CommonChange
from karma.ranking.connectedness import groups_apart
from karma.ranking.davidson import tie_probability
from karma.ranking.judge_plan import Cascade, CascadeRule
from karma.ranking.jury import Jury
from karma.ranking.label_error import LabelError
from karma.ranking.label_limit import LabelLimit
from karma.ranking.label_model import LabelModel
from karma.ranking.misfit import MisfitPair, PairFit
from karma.ranking.orders import SecondOrder
from karma.ranking.outcome_model import OutcomeModel
from karma.ranking.self_preference import SelfPreference
from karma.ranking.tail import TailBin
from karma.ranking.verdict_sources import VerdictSource

Array = NDArray[np.float64]
PairTable = Literal["gap", "gap_deviation", "kinship", "information", "win", "comparisons"]
ModelTable = Literal["mean", "deviation"]

#: The name of row 0 of every table: the competency of a model averaged over the skills seen.
OVERALL = "overall"
#: Two models are kin where the probability of |θ_i − θ_j| < epsilon is at least this: more likely kin than not.
KIN_THRESHOLD = 0.5
#: Shared verdicts from which on the threshold applies to two models; before, they are paired by rank (exploration).
KIN_COMPARISONS = 8.0
#: Information, in bits, of a comparison under the default prior; equal for all pairs before the first refit.
COLD_INFORMATION = 0.535

#: Comparisons that a snapshot remembers; this bounds the memory.
_MOST_COMPARED = 4096

PAIR_ARRAYS = ("gap_deviation", "kinship", "information", "win", "comparisons")
MODEL_ARRAYS = ("mean", "deviation")


@dataclass(frozen=True)
class Comparison:
    """The posterior of two models' comparison. Gaps are θ_a − θ_b in logits."""

    kinship: float | None  # P(|gap| < epsilon); None while unknown
    gap: float
    gap_deviation: float  # posterior standard deviation of the gap
    information: float  # P(decisive) × H(win | decisive), bits
    win_probability: float  # P(a beats b | decisive), posterior predictive
    comparisons: float  # effective number of verdicts on the two models


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Competencies, kinship and information of M models in S skills.

    Shapes: `mean` and `deviation` are [1+S, M+1] in logits, all others [1+S, M+1, M+1]. Row 0 is `OVERALL`, row 1+s is
    `skills[s]`. Column M is the unseen model. The entry [M, M] of a pair table is about two *different* unseen models,
    [m, m] for m < M about two samples of one model.
    """

    version: int
    models: tuple[str, ...]
    skills: tuple[str, ...]
    mean: Array
    deviation: Array
    gap_deviation: Array
    kinship: Array  # nan where unknown
    information: Array
    win: Array  # P(row model beats column model | decisive)
    comparisons: Array
    tie: float  # Davidson's ν over all sources of verdicts: at equal competency, P(no side) = ν / (2 + ν)
    epsilon: float  # logits; the half-width of kinship
    outcome: OutcomeModel | None = None  # None while too few pairs under a judge budget were judged
    audits: Mapping[str, LabelError] = field(default_factory=dict)  # by stream: the error of predicted labels
    self_preference: Mapping[str, SelfPreference] = field(default_factory=dict)  # by judge with a model of its own
    label_limits: Mapping[str, LabelLimit] = field(default_factory=dict)  # by stream with a `max_label_error`
    sources: Mapping[str, VerdictSource] = field(default_factory=dict)  # of verdicts; none: all have `tie`
    label_tails: Mapping[str, tuple[TailBin, ...]] = field(default_factory=dict)  # by stream: of predicted labels
    win_tail: tuple[TailBin, ...] = ()  # of `win`, by the verdicts behind it
    cosine: Array | None = None  # [M+1, M+1] cosine kinship over all skills, as in the paper; nan where unknown
    pair_fit: PairFit = field(default_factory=PairFit)  # how well the competencies explain the verdicts
    common_changes: tuple[CommonChange, ...] = ()  # of all competencies at once; newest last
    second_orders: Mapping[str, SecondOrder] = field(default_factory=dict)  # by judge with enough pairs in both orders
    labels: LabelModel | None = None  # None while too few pairs under a judge budget were judged
    cascades: Mapping[Cascade, CascadeRule] = field(default_factory=dict)  # with enough pairs that all of it saw
    cascade_audits: Mapping[str, LabelError] = field(default_factory=dict)  # by stream: of labels by its first judge
    jury: Jury = field(default_factory=Jury)  # what is known of judges that share pairs; empty with one judge

    def __post_init__(self) -> None:
        """Refuse tables whose shapes do not match the names."""
        rows, columns = 1 + len(self.skills), len(self.models) + 1
        for name in (*MODEL_ARRAYS, *PAIR_ARRAYS):
            expected = (rows, columns) if name in MODEL_ARRAYS else (rows, columns, columns)
            shape = getattr(self, name).shape
            if shape != expected:
                raise KarmaError(f"snapshot table {name!r} has shape {shape}, expected {expected} (unseen included)")
        if self.cosine is not None and self.cosine.shape != (columns, columns):
            raise KarmaError(f"snapshot table 'cosine' has shape {self.cosine.shape}, expected {(columns, columns)}")

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {model: column for column, model in enumerate(self.models)}

    @cached_property
    def _rows(self) -> dict[str | None, int]:
        return {skill: row for row, skill in enumerate(self.skills, start=1)}

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The models in groups that no verdict connects, so that their gaps are unknown; empty where none are apart.

        A model without a verdict is in no group.
        """
        found = groups_apart(self.comparisons[0, :-1, :-1])
        return tuple(tuple(self.models[column] for column in group.tolist()) for group in found)

    def apart(self, a: str, b: str) -> bool:
        """Whether two models are in different groups."""
        of = {model: number for number, group in enumerate(self.groups) for model in group}
        return a in of and b in of and of[a] != of[b]

    @cached_property
    def _same(self) -> Comparison:
        """Two samples of one model: the gap is exactly 0, so P(decisive) = 2/(2+ν) and H = 1 bit."""
        return Comparison(1.0, 0.0, 0.0, 2.0 / (2.0 + self.tie), 0.5, 0.0)

    @cached_property
    def _by_cosine(self) -> Snapshot:
        cosine = np.full(self.kinship.shape[1:], np.nan) if self.cosine is None else self.cosine
        return replace(self, kinship=np.broadcast_to(cosine, self.kinship.shape))

    def with_kinship(self, kind: str) -> Snapshot:
        """The snapshot with the `posterior` kinship, per skill, or the `cosine` kinship, equal in every skill."""
        return self._by_cosine if kind == "cosine" else self

    def index(self, model: str) -> int | None:
        """The column of a model; None for a model that the snapshot does not contain."""
        return self._columns.get(model)

    def row(self, skill: str | None) -> int:
        """The row of a skill; the overall row for None and for a skill that the snapshot does not contain."""
        return self._rows.get(skill, 0)

    def prior_gap_variance(self, skill: str | None) -> float:
        """Prior variance of the gap between two models, squared logits."""
        return float(self.gap_deviation[self.row(skill), -1, -1]) ** 2

    def between(self, a: str, b: str, skill: str | None) -> Comparison:
        """The comparison of models `a` and `b` in a skill; the snapshot need not contain them."""
        if a == b:
            return self._same
        unseen = len(self.models)
        row, i, j = self.row(skill), self._columns.get(a, unseen), self._columns.get(b, unseen)
        known = self._compared.get((row, i, j))
        if known is None:
            if len(self._compared) >= _MOST_COMPARED:
                self._compared.clear()
            known = self._compared[row, i, j] = self._comparison(row, i, j)
        return known

    @cached_property
    def _compared(self) -> dict[tuple[int, int, int], Comparison]:
        return {}

    def _comparison(self, row: int, i: int, j: int) -> Comparison:
        kinship = float(self.kinship[row, i, j])
        return Comparison(
            kinship=None if isnan(kinship) else kinship,
            gap=float(self.mean[row, i] - self.mean[row, j]),
            gap_deviation=float(self.gap_deviation[row, i, j]),
            information=float(self.information[row, i, j]),
            win_probability=float(self.win[row, i, j]),
            comparisons=float(self.comparisons[row, i, j]),
        )

    def competency(self, model: str, skill: str | None) -> float | None:
        """A model's mean in a skill, logits; None for a model that the snapshot does not contain."""
        column = self._columns.get(model)
        return None if column is None else float(self.mean[self.row(skill), column])

    def misfit(self, a: str, b: str) -> MisfitPair | None:
        """Two models whose verdicts contradict their competencies, as seen from `a`; None for any others."""
        for pair in self.pair_fit.misfit:
            if (a, b) == (pair.model_a, pair.model_b):
                return pair
            if (b, a) == (pair.model_a, pair.model_b):
                return pair.reversed()
        return None

    def decisive(self, gap: Array, skill: str | None, source: str | None = None) -> Array:
        """P(decisive) of verdicts at gaps of competency, in their shape.

        Args:
            gap: logits.
            skill: row 0 for None and for an unknown skill.
            source: of the verdicts; None, or an unknown one, for one drawn by the shares of the skill's verdicts.
        """
        if source is not None and source in self.sources:
            known = self.sources[source]
            return 1.0 - tie_probability(known.scale * gap, known.tie)
        if not self.sources:
            return 1.0 - tie_probability(gap, self.tie)
        no_side = np.zeros(np.shape(gap))
        for each in self.sources.values():
            no_side += each.shares[self.row(skill)] * tie_probability(each.scale * gap, each.tie)
        return 1.0 - no_side

    def means(self, models: Sequence[str], skill: str | None) -> list[float]:
        """`vector("mean", …)` as a list: several times as fast for a few models."""
        row, unseen, item = self.row(skill), len(self.models), self.mean.item
        return [item(row, self._columns.get(model, unseen)) for model in models]

    def values(self, name: PairTable, pairs: Iterable[tuple[str, str]], skill: str | None) -> list[float]:
        """The entries of `matrix` at some pairs of models, as a list; for a few pairs several times as fast."""
        row, unseen, columns = self.row(skill), len(self.models), self._columns
        at = [(columns.get(a, unseen), columns.get(b, unseen), a == b) for a, b in pairs]
        if name == "gap":
            mean = self.mean.item
            return [mean(row, i) - mean(row, j) for i, j, _same in at]
        item, of_one = getattr(self, name).item, getattr(self._same, _field(name))
        return [of_one if same and i == unseen else item(row, i, j) for i, j, same in at]

    def vector(self, name: ModelTable, models: Sequence[str], skill: str | None) -> Array:
        """`mean` or `deviation` of models in a skill, shape [m]."""
        table: Array = getattr(self, name)
        unseen = len(self.models)
        return table[self.row(skill), [self._columns.get(model, unseen) for model in models]]

    def matrix(self, name: PairTable, models: Sequence[str], skill: str | None) -> Array:
        """A pair table restricted to the given models (repeats allowed), shape [m, m]."""
        if name == "gap":
            means = self.vector("mean", models, skill)
            return means[:, None] - means[None, :]
        unseen = len(self.models)
        columns = np.array([self._columns.get(model, unseen) for model in models], dtype=np.intp)
        table: Array = getattr(self, name)
        block: Array = table[self.row(skill)][columns[:, None], columns]
        for i, j in product(np.flatnonzero(columns == unseen).tolist(), repeat=2):
            if models[i] == models[j]:
                block[i, j] = getattr(self._same, _field(name))
        return block

    @classmethod
    def empty(
        cls,
        models: Sequence[str] = (),
        skills: Sequence[str] = (),
        *,
        deviation: float = 1.5,
        tie: float = 0.5,
        epsilon: float = 0.4,
        information: float = COLD_INFORMATION,
    ) -> Snapshot:
        """The cold start: all means 0, kinship unknown, information equal for any two different models.

        Args:
            models: of the pool; other models have the same values.
            skills: known in advance.
            deviation: prior standard deviation of a competency, logits.
            tie: prior mean of Davidson's ν.
            epsilon: half-width of kinship, logits.
            information: bits of any comparison under that prior.
        """
        rows, columns = 1 + len(skills), len(models) + 1
        pairs = (rows, columns, columns)
        same = np.broadcast_to(np.diag([True] * len(models) + [False]), pairs)
        return cls(
            version=0,
            models=tuple(models),
            skills=tuple(skills),
            mean=np.zeros((rows, columns)),
            deviation=np.full((rows, columns), deviation),
            gap_deviation=np.where(same, 0.0, np.sqrt(2.0) * deviation),
            kinship=np.where(same, 1.0, np.nan),
            information=np.where(same, 2.0 / (2.0 + tie), information),
            win=np.full(pairs, 0.5),
            comparisons=np.zeros(pairs),
            tie=tie,
            epsilon=epsilon,
        )


def _field(table: PairTable) -> str:
    """The field of a `Comparison` that a pair table has."""
    return "win_probability" if table == "win" else table
