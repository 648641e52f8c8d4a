"""Preferences: responses, pairs, verdicts, resolutions, and the counts and snapshots of competencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, bindparam, case, delete, func, literal, select, update

from karma.config.derived_streams import MARK
from karma.messages import FINISH_PREFIXES, UNFINISHED
from karma.ranking.verdict_weights import PromptWeight
from karma.store.chunks import execute_in, groups_in, rows_in
from karma.store.export_filter import ExportFilter
from karma.store.pair_rows import IS_SURE, IS_UNSURE, pair_rows, prompt_weights, verdict_rows
from karma.store.records import (
    Count,
    NewPair,
    NewResolution,
    NewResponse,
    NewVerdict,
    PairRow,
    ResponseRow,
    VerdictRow,
)
from karma.store.schema import competency_counts, pairs, prompts, resolutions, responses, snapshots
from karma.store.spending import Spending
from karma.store.sql import insert_adding, insert_new

_LIKELIER = case((resolutions.c.probability > 0.5, resolutions.c.probability), else_=1.0 - resolutions.c.probability)
#: P(the chosen response is better) of a predicted label: P(not a tie) × P(better | not a tie).
_CERTAINTY = (1.0 - func.coalesce(pairs.c.predicted_tie, 0.0)) * _LIKELIER
_RESPONSE_COLUMNS = [responses.c[name] for name in ResponseRow._fields]


class Preferences:
    """The preferences within one transaction; `now` is the transaction's time in seconds since 1970."""

    def __init__(self, connection: Connection, now: float, spending: Spending) -> None:
        self.connection = connection
        self.now = now
        self._spending = spending

    def add_responses(self, new: Sequence[NewResponse]) -> None:
        """Record responses and what they cost; existing ones are not changed."""
        self._spending.record("model", new)

    def responses_of(self, prompt_ids: Iterable[int]) -> dict[int, list[ResponseRow]]:
        """The responses of prompts, in order of their ids."""
        query = select(*_RESPONSE_COLUMNS).order_by(responses.c.id)
        return groups_in(self.connection, query, responses.c.prompt, prompt_ids, ResponseRow)

    def add_pairs(self, new: Sequence[NewPair]) -> list[int]:
        """Record pairs; returns their ids in the same order."""
        if not new:
            return []
        rows = [vars(pair) | {"created_at": self.now} for pair in new]
        statement = insert_new(self.connection, pairs).returning(pairs.c.id, pairs.c.response_a, pairs.c.response_b)
        ids = {(row.response_a, row.response_b): row.id for row in self.connection.execute(statement, rows)}
        return [ids[pair.response_a, pair.response_b] for pair in new]

    def pairs_of(self, pair_ids: Iterable[int]) -> dict[int, PairRow]:
        """Pairs by id; the caller holds their prompts' rows."""
        return pair_rows(self.connection, pair_ids)

    def prompt_weights(self, prompt_ids: Iterable[int]) -> dict[int, PromptWeight]:
        """How much the verdicts on the pairs of each prompt count."""
        return prompt_weights(self.connection, prompt_ids)

    def add_verdicts(self, new: Sequence[NewVerdict]) -> None:
        """Record verdicts and what they cost; existing ones are not changed."""
        self._spending.record("judge", new)

    def count_awaited(self, rows: Mapping[int, PairRow], recorded: Counter[int], opened: Counter[int]) -> list[PairRow]:
        """Lower the pairs' awaited verdicts by the recorded ones and raise them by those that are now asked for.

        Returns the pairs that wait for no more.
        """
        left = [
            rows[pair]._replace(awaited=rows[pair].awaited - count + opened[pair])
            for pair, count in sorted(recorded.items())
        ]
        if left:
            self.connection.execute(
                update(pairs).where(pairs.c.id == bindparam("key")).values(awaited=bindparam("left")),
                [{"key": row.id, "left": row.awaited} for row in left],
            )
        return [row for row in left if row.awaited <= 0]

    def verdicts_of(self, pair_ids: Iterable[int]) -> dict[int, list[VerdictRow]]:
        """The verdicts on pairs."""
        return verdict_rows(self.connection, pair_ids)

    def add_resolutions(self, new: Sequence[NewResolution]) -> None:
        """Record the resolutions of pairs."""
        self._add(resolutions, new, "resolved_at")

    def add_counts(self, counts: Iterable[Count]) -> None:
        """Add verdicts to the competency counts, in the order of their keys so that writers cannot deadlock."""
        summed: dict[tuple[str, str, str, str, int], list[float]] = {}
        for count in counts:
            key = (count.source, count.skill, count.model_a, count.model_b, count.bucket)
            cell = summed.setdefault(key, [0.0] * 4)
            for index, value in enumerate((count.wins_a, count.wins_b, count.ties, count.squares)):
                cell[index] += value
        if summed:
            rows = [Count(*key, *values)._asdict() for key, values in sorted(summed.items())]
            statement = insert_adding(self.connection, competency_counts, "wins_a", "wins_b", "ties", "squares")
            self.connection.execute(statement, rows)

    def counts(self) -> list[Count]:
        """All competency counts, in the order of their keys."""
        query = select(competency_counts).order_by(*competency_counts.primary_key.columns)
        return [Count._make(row) for row in self.connection.execute(query)]

    def merge_counts(self, merges: Mapping[int, int]) -> None:
        """Move the counts of buckets into others, old bucket → new bucket. No worker adds to the old ones any more."""
        self.add_counts(row._replace(bucket=merges[row.bucket]) for row in self._remove_counts(merges))

    def rename_counts(self, model: str, name: str, before: int | None = None) -> None:
        """Assign a model's counts, or those in buckets below `before`, to another name."""
        columns = competency_counts.c
        of_model = (columns.model_a == model) | (columns.model_b == model)
        query = select(columns.bucket).distinct().where(of_model)
        if before is not None:
            query = query.where(columns.bucket < before)
        removed = self._remove_counts(self.connection.execute(query).scalars(), of_model)
        self.add_counts(_renamed(row, model, name) for row in removed)

    def _remove_counts(self, buckets: Iterable[int], *conditions: ColumnElement[bool]) -> list[Count]:
        """Delete counts and return them. Of two concurrent workers only one gets a row, and adds it elsewhere."""
        statement = delete(competency_counts).where(*conditions).returning(*competency_counts.c)
        return [Count._make(row) for row in rows_in(self.connection, statement, competency_counts.c.bucket, buckets)]

    def counted_verdicts(self) -> float:
        """The weight of all competency counts."""
        columns = competency_counts.c
        query = select(func.sum(columns.wins_a + columns.wins_b + columns.ties))
        return float(self.connection.execute(query).scalar_one() or 0.0)

    def add_snapshot(self, version: int, weight: float, body: bytes) -> bool:
        """Store a snapshot; returns False, and stores nothing, if another worker has stored that version."""
        row = {"version": version, "created_at": self.now, "verdicts": weight, "body": body}
        statement = insert_new(self.connection, snapshots).returning(snapshots.c.version)
        return self.connection.execute(statement, row).first() is not None

    def snapshot_times(self) -> list[tuple[int, float]]:
        """(version, creation time) of the stored snapshots, oldest first."""
        query = select(snapshots.c.version, snapshots.c.created_at).order_by(snapshots.c.version)
        return [(row.version, row.created_at) for row in self.connection.execute(query)]

    def drop_snapshots(self, versions: Iterable[int]) -> None:
        """Delete snapshots."""
        execute_in(self.connection, delete(snapshots), snapshots.c.version, versions)

    def latest_version(self) -> tuple[int, float]:
        """The version of the newest snapshot and the weight of its verdicts; (0, 0.0) if there is none."""
        query = select(snapshots.c.version, snapshots.c.verdicts).order_by(snapshots.c.version.desc()).limit(1)
        row = self.connection.execute(query).first()
        return (0, 0.0) if row is None else (row.version, row.verdicts)

    def latest_snapshot(self, newer_than: int = -1) -> tuple[int, float, bytes] | None:
        """The newest snapshot as (version, weight of its verdicts, body); None if none is newer."""
        query = (
            select(snapshots.c.version, snapshots.c.verdicts, snapshots.c.body)
            .where(snapshots.c.version > newer_than)
            .order_by(snapshots.c.version.desc())
            .limit(1)
        )
        row = self.connection.execute(query).first()
        return None if row is None else (row.version, row.verdicts, row.body)

    def export_rows(self, after: int, limit: int, kept: ExportFilter) -> list[Any]:
        """Up to `limit` decisive pairs with ids above `after`, in order of their ids, with the columns of exports."""
        chosen, rejected = responses.alias("chosen_response"), responses.alias("rejected_response")
        query = (
            select(
                pairs,
                resolutions.c.chosen,
                resolutions.c.rejected,
                resolutions.c.probability,
                resolutions.c.flipped,
                resolutions.c.label_source,
                resolutions.c.resolved_at,
                prompts.c.stream,
                prompts.c.prompt_id,
                prompts.c.messages,
                prompts.c.skill,
                prompts.c.metadata,
                chosen.c.text.label("chosen_text"),
                rejected.c.text.label("rejected_text"),
                chosen.c.model.label("chosen_model"),
                rejected.c.model.label("rejected_model"),
                *(
                    side.c[name].label(f"{label}_{name}")
                    for label, side in (("chosen", chosen), ("rejected", rejected))
                    for name in ("tokens_in", "tokens_out", "tokens_cached", "cost_usd", "finish_reason")
                ),
                chosen.c.reasoning.is_not(None).label("chosen_has_reasoning"),
                rejected.c.reasoning.is_not(None).label("rejected_has_reasoning"),
            )
            .join(resolutions, resolutions.c.pair == pairs.c.id)
            .join(prompts, prompts.c.id == pairs.c.prompt)
            .join(chosen, chosen.c.id == resolutions.c.chosen)
            .join(rejected, rejected.c.id == resolutions.c.rejected)
            .where(pairs.c.id > after)
            .order_by(pairs.c.id)
            .limit(limit)
        )
        if kept.max_length_ratio is not None:
            query = query.where(_are_near(chosen, rejected, kept.max_length_ratio))
        return list(self.connection.execute(query.where(*_conditions(kept, chosen, rejected))))

    def too_unequal(self, kept: ExportFilter) -> int:
        """The number of preferences that the filter leaves out for the lengths of their responses alone."""
        if kept.max_length_ratio is None:
            return 0
        chosen, rejected = responses.alias("chosen_response"), responses.alias("rejected_response")
        query = (
            select(func.count())
            .select_from(pairs)
            .join(resolutions, resolutions.c.pair == pairs.c.id)
            .join(prompts, prompts.c.id == pairs.c.prompt)
            .join(chosen, chosen.c.id == resolutions.c.chosen)
            .join(rejected, rejected.c.id == resolutions.c.rejected)
            .where(*_conditions(kept, chosen, rejected), ~_are_near(chosen, rejected, kept.max_length_ratio))
        )
        return int(self.connection.execute(query).scalar_one())

    def uncertain_labels(self, kept: ExportFilter) -> int:
        """The number of predicted labels that the filter leaves out because they are too uncertain."""
        query = (
            select(func.count())
            .select_from(pairs)
            .join(resolutions, resolutions.c.pair == pairs.c.id)
            .join(prompts, prompts.c.id == pairs.c.prompt)
            .where(resolutions.c.label_source == "predicted", ~_certain(kept), _of_stream(kept))
        )
        return int(self.connection.execute(query).scalar_one())

    def _add(self, table: Any, new: Sequence[Any], time_column: str = "created_at") -> None:
        if new:
            rows = [vars(each) | {time_column: self.now} for each in new]
            self.connection.execute(insert_new(self.connection, table), rows)


def _conditions(kept: ExportFilter, chosen: Any, rejected: Any) -> Iterator[ColumnElement[bool]]:
    """What the filter asks of a resolved pair and its two responses, but for their lengths."""
    yield resolutions.c.outcome == "decisive"
    yield _of_stream(kept)
    if kept.finished:
        yield from (_ended_by_itself(side.c.finish_reason) for side in (chosen, rejected))
    if kept.label_source is not None:
        yield resolutions.c.label_source == kept.label_source
    if kept.least_predicted > 0.5:
        yield (resolutions.c.label_source == "judge") | _certain(kept)
    if kept.least_probability > 0.5:
        sure = resolutions.c.probability >= kept.least_probability
        yield sure | (resolutions.c.probability <= 1.0 - kept.least_probability)


def _are_near(chosen: Any, rejected: Any, most: float) -> ColumnElement[bool]:
    """Whether the longer text has at most `most` times the characters of the shorter one, as when pairs are formed."""
    first, second = func.length(chosen.c.text), func.length(rejected.c.text)
    times = literal(most, Double)
    return (first <= times * second) & (second <= times * first)


def _ended_by_itself(finish_reason: Any) -> Any:
    """Whether a response was neither cut nor filtered, as `karma.llm.finish.finish_of` has it."""
    name = func.replace(func.replace(func.lower(func.trim(func.coalesce(finish_reason, ""))), "-", "_"), " ", "_")
    names = sorted(f"{prefix}{each}" for prefix in ("", *FINISH_PREFIXES) for each in UNFINISHED)
    return name.not_in(names) & ~name.startswith("content_filter:", autoescape=True)


def _certain(kept: ExportFilter) -> ColumnElement[bool]:
    """Whether the filter lets a predicted label through.

    Where the posterior was asked, its answer holds. The prompt's other verdicts may have changed the label since.
    """
    certain = kept.least_predicted <= _CERTAINTY
    if kept.least_sure is None:
        return certain
    return (IS_SURE & (kept.least_sure <= _LIKELIER)) | (~IS_SURE & ~IS_UNSURE & certain)


def _of_stream(kept: ExportFilter) -> ColumnElement[bool]:
    derived = prompts.c.stream.contains(MARK, autoescape=True)
    return ~derived if kept.stream is None else prompts.c.stream == kept.stream


def _renamed(row: Count, model: str, name: str) -> Count:
    a, b = (name if row.model_a == model else row.model_a), (name if row.model_b == model else row.model_b)
    renamed = row._replace(model_a=a, model_b=b)
    return renamed if a < b else renamed._replace(model_a=b, model_b=a, wins_a=row.wins_b, wins_b=row.wins_a)
