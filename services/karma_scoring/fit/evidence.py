"""Evidence: win/loss counts as arrays, weighted by effective sample size and age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from karma.errors import KarmaError
from karma.ranking.verdict_sources import JUDGE
from karma.store.records import Count
from karma_scoring.fit.likelihood import Array, Counts, Indices
from karma_scoring.fit.time_buckets import BUCKET_S, bucket_at

#: Weight that a cell's effective sample size borrows from all cells together.
_BORROWED = 30.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """Weighted counts with the names of their indices."""

    counts: Counts
    bucket: Indices  # [n], of each row of the counts
    models: tuple[str, ...]
    skills: tuple[str, ...]


def evidence(rows: Sequence[Count], pool_models: Sequence[str], now: float, half_life_h: float) -> Evidence:
    """Encode counts as arrays. Weights are effective sample sizes, decayed by 2^(−age / half-life).

    The weight of a skill is not: it is the sum of inverse probabilities, so that a skill of which little is judged has
    the share of its pairs (Horvitz & Thompson 1952, JASA 47, 663–685).

    Args:
        rows: counts of all buckets and sources.
        pool_models: get a column even without counts.
        now: seconds since 1970.
        half_life_h: hours.

    Raises:
        KarmaError: counts that are not finite; it names the row.
    """
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(Count._fields)
    source_of, skill_of, model_a, model_b, buckets, *numbers = columns
    models = tuple(sorted({*pool_models, *model_a, *model_b}))
    skills = tuple(sorted({*skill_of} - {""}))
    sources = tuple(sorted({*source_of})) or (JUDGE,)
    model_index = {model: index for index, model in enumerate(models)}
    skill_index = {"": -1, **{skill: index for index, skill in enumerate(skills)}}
    source_index = {name: index for index, name in enumerate(sources)}
    source = np.array([source_index[name] for name in source_of], dtype=np.int64)
    skill = np.array([skill_index[name] for name in skill_of], dtype=np.int64)
    first = np.array([model_index[name] for name in model_a], dtype=np.int64)
    second = np.array([model_index[name] for name in model_b], dtype=np.int64)
    bucket = np.array(buckets, dtype=np.int64)
    wins_first, wins_second, ties, squares = (np.array(column, dtype=np.float64) for column in numbers)
    finite = np.isfinite(wins_first + wins_second + ties + squares)
    if not finite.all():
        row = rows[int(np.argmin(finite))]
        raise KarmaError(
            f"the competency counts of {row.model_a} and {row.model_b} in bucket {row.bucket}, skill {row.skill!r}, "
            f"are no numbers: wins {row.wins_a} and {row.wins_b}, ties {row.ties}, squares {row.squares}. Delete this "
            "row of the table competency_counts"
        )
    cell = ((skill + 1) * len(models) + first) * len(models) + second
    age_h = np.maximum(0.0, bucket_at(now) - bucket - 1.0) * BUCKET_S / 3600.0
    decay, verdicts = 0.5 ** (age_h / half_life_h), wins_first + wins_second + ties
    weight = _effective_weight(cell, verdicts, squares) * decay
    by_skill = np.bincount(skill + 1, weights=verdicts * decay, minlength=len(skills) + 1).astype(np.float64)
    counts = Counts(
        *(skill, first, second),
        *(wins_first * weight, wins_second * weight, ties * weight),
        weight=by_skill,
        source=source if len(sources) > 1 else None,
        sources=sources,
    )
    return Evidence(counts, bucket, models, skills)


def _effective_weight(cell: Indices, weights: Array, squares: Array) -> Array:
    """Effective number of verdicts per unit of weight, [n]: Σw / Σw² of a row's cell, shrunk to that of all cells.

    A cell is a skill and two models. The weights are inverse probabilities of being judged. They make win shares
    unbiased (Horvitz & Thompson 1952), but verdicts of unequal weight count only as (Σw)² / Σw² of equal weight: their
    effective sample size (Kish 1965, Survey Sampling, section 11.7). A small cell may by chance lack the rare pairs of
    large weight and would seem more certain than it is; so each cell borrows `_BORROWED` of weight from all cells.
    """
    if not len(cell):
        return np.ones(0)
    _, index = np.unique(cell, return_inverse=True)
    weight, square = np.bincount(index, weights=weights), np.bincount(index, weights=squares)
    overall = square.sum() / weight.sum() if square.sum() > 0.0 else 1.0
    return ((weight + _BORROWED) / (square + _BORROWED * overall))[index]
