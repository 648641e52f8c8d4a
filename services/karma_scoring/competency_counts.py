"""What a resolved pair adds to the competency counts, and taking it out again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from karma.config.derived_streams import teaches
from karma.ranking.verdict_sources import HUMAN, source_of
from karma.ranking.verdict_weights import PromptWeight
from karma.store.chunks import rows_in
from karma.store.pair_rows import pair_records, prompt_weights
from karma.store.records import Count, PairRow, VerdictRow
from karma.store.schema import prompts
from karma.store.withdrawn_counts import withdraw_counts
from karma.verdicts import Resolution, Verdict, Weighed, Weighs, resolve
from karma_scoring.fit.changes.drift import MARK
from karma_scoring.fit.time_buckets import bucket_at
from karma_scoring.larger_judges import counted_judges
from karma_scoring.second_orders import first_verdicts


def by_judges(verdicts: Sequence[VerdictRow]) -> list[VerdictRow]:
    """The valid verdicts that judges gave when they were asked; those of people count when they are imported."""
    return [each for each in verdicts if each.probability is not None and each.template_hash != HUMAN]


def jury_of(pair: PairRow, jury: Weighs | None) -> Weighs | None:
    """What weighs the verdicts on a pair: where its judges were drawn, also those of one judge."""
    in_rotation = pair.judges is not None and pair.judges.first is None
    return jury.in_rotation() if in_rotation and jury is not None else jury


def count_of(
    pair: PairRow,
    verdicts: Sequence[VerdictRow],
    skill: str | None,
    weights: PromptWeight,
    now: float,
    verifiers: Collection[str],
    tie_margin: float,
    jury: Weighs | None = None,
    resolved: Resolution | None = None,
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
        resolved: the pair's resolution by all of the verdicts, with the same tie margin and jury, where it is known.
    """
    counted = first_verdicts(pair, counted_judges(pair, by_judges(verdicts)))
    if resolved is None or len(counted) != len(verdicts):
        resolved = resolve(counted, tie_margin, jury_of(pair, jury))
    resolution = resolved
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


@dataclass(frozen=True)
class _AsResolved:
    """What the judges of a pair counted for when it was resolved."""

    weighed: Mapping[str, Weighed]

    def weigh(self, _verdicts: Iterable[Verdict]) -> Mapping[str, Weighed]:
        return self.weighed

    def in_rotation(self) -> _AsResolved:
        return self


def withdraw(
    connection: Connection,
    pair_ids: Sequence[int],
    tie_margin_of: Callable[[str], float],
    verifiers: Collection[str],
    aliases: Mapping[str, str],
) -> None:
    """Take resolved pairs out of the competency counts, so that they count once when they are resolved again.

    Args:
        connection: of a transaction that holds their prompts' rows.
        pair_ids: resolved ones.
        tie_margin_of: of a stream.
        verifiers: judges whose pairs are probes.
        aliases: earlier name of a model → its name.
    """
    records = [
        record
        for record in pair_records(connection, pair_ids)
        if teaches(record.stream)
        and record.label_source != "predicted"
        and record.outcome not in (None, "unscored")
        and record.pair.model_a != record.pair.model_b
        and by_judges(record.verdicts)
    ]
    of_prompts = sorted({record.pair.prompt for record in records})
    weights = prompt_weights(connection, of_prompts)
    skills = {
        row.id: row.skill
        for row in rows_in(connection, select(prompts.c.id, prompts.c.skill), prompts.c.id, of_prompts)
    }
    added = []
    for record in records:
        pair = record.pair._replace(
            model_a=aliases.get(record.pair.model_a, record.pair.model_a),
            model_b=aliases.get(record.pair.model_b, record.pair.model_b),
        )
        skill, weight, margin = skills[pair.prompt], weights[pair.prompt], tie_margin_of(record.stream)
        jury = _AsResolved(record.weighed or {})
        added.append(count_of(pair, record.verdicts, skill, weight, record.resolved_at, verifiers, margin, jury))
    withdraw_counts(connection, added, MARK)
