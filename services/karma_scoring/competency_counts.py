"""What a resolved pair adds to the competency counts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from karma.ranking.verdict_sources import HUMAN, source_of
from karma.ranking.verdict_weights import PromptWeight
from karma.store.records import Count, PairRow, VerdictRow
from karma.verdicts import Weighs, resolve
from karma_scoring.fit.time_buckets import bucket_at
from karma_scoring.second_orders import first_verdicts


def by_judges(verdicts: Sequence[VerdictRow]) -> list[VerdictRow]:
    """The valid verdicts that judges gave when they were asked; those of people count when they are imported."""
    return [each for each in verdicts if each.probability is not None and each.template_hash != HUMAN]


def count_of(
    pair: PairRow,
    verdicts: Sequence[VerdictRow],
    skill: str | None,
    weights: PromptWeight,
    now: float,
    verifiers: Collection[str],
    tie_margin: float,
    jury: Weighs | None = None,
) -> Count:
    """The count of one pair with a valid verdict; a contradiction takes no side, as a tie.

    Args:
        pair: of two different models.
        verdicts: all of the pair, of which one or more are by judges.
        skill: of its prompt.
        weights: of its prompt's verdicts.
        now: seconds since 1970.
        verifiers: judges whose pairs are probes.
        tie_margin: of the stream.
        jury: what the judges count for; None: alike.
    """
    counted = first_verdicts(pair, by_judges(verdicts))
    resolution = resolve(counted, tie_margin, jury)
    by_competency = pair.sure is not None
    weight, square = weights.selected_by_competency() if by_competency else weights.of(pair.judged_probability)
    won, tied = resolution.a_is_chosen, resolution.outcome != "decisive"
    lost = not won and not tied
    first, second = pair.model_a, pair.model_b
    if first > second:
        first, second, won, lost = second, first, lost, won
    return Count(
        source=source_of(counted, verifiers),
        skill=skill or "",
        model_a=first,
        model_b=second,
        bucket=bucket_at(now),
        wins_a=weight * won,
        wins_b=weight * lost,
        ties=weight * tied,
        squares=square,
    )
