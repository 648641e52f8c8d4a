"""Preferences: responses, pairs, verdicts, resolutions, and the counts and snapshots of competencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import astuple
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select

from karma.ranking.verdict_weights import PromptWeight
from karma.store import exported
from karma.store.bulk import Insert, Update
from karma.store.chunks import execute_in_order, rows_in
from karma.store.export_filter import ExportFilter
from karma.store.pair_rows import pair_rows, prompt_weights, verdict_rows
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
from karma.store.schema import competency_counts, pairs, resolutions, responses, snapshots
from karma.store.spending import Spending
from karma.store.sql import insert_new
from karma.store.statements import Query, among

_RESPONSES = Query(
    select(*(responses.c[name] for name in ResponseRow._fields))
    .where(among(responses.c.prompt, "prompts"))
    .order_by(responses.c.id),
    "prompts",
)
_PROMPT = ResponseRow._fields.index("prompt")

_ADD_PAIRS = Insert(pairs, (*NewPair._fields, "created_at"), returning=("id", "response_a", "response_b"))

_ADD_RESOLUTIONS = Insert(resolutions, (*NewResolution.__struct_fields__, "resolved_at"))

_AWAITED = Update(pairs, "awaited", "id")
_ADD_COUNTS = Insert(competency_counts, Count._fields, adding=("wins_a", "wins_b", "ties", "squares"))
_LATEST = Query(
    select(snapshots.c.version, snapshots.c.verdicts, snapshots.c.body)
    .where(snapshots.c.version > bindparam("version"))
    .order_by(snapshots.c.version.desc())
    .limit(1),
    "version",
)


class Preferences:
    """The preferences within one transaction; `now` is the transaction's time in seconds since 1970."""

    def __init__(self, connection: Connection, now: float, spending: Spending) -> None:
        self.connection = connection
        self.now = now
        self._spending = spending

    def add_responses(self, new: Sequence[NewResponse], stream: str) -> None:
        """Record responses to prompts of a stream, and what they cost; existing ones are not changed."""
        self._spending.record("model", new, stream)

    def responses_of(self, prompt_ids: Iterable[int]) -> dict[int, list[ResponseRow]]:
        """The responses of prompts, in order of their ids."""
        return _RESPONSES.grouped(self.connection, _PROMPT, ResponseRow, prompt_ids)

    def add_pairs(self, new: Sequence[NewPair]) -> list[int]:
        """Record pairs; returns their ids in the same order."""
        added = _ADD_PAIRS.new(self.connection, [(*pair, self.now) for pair in new])
        ids = {(response_a, response_b): id_ for id_, response_a, response_b in added}
        return [ids[pair.response_a, pair.response_b] for pair in new]

    def pairs_of(self, pair_ids: Iterable[int]) -> dict[int, PairRow]:
        """Pairs by id; the caller holds their prompts' rows."""
        return pair_rows(self.connection, pair_ids)

    def prompt_weights(self, prompt_ids: Iterable[int]) -> dict[int, PromptWeight]:
        """How much the verdicts on the pairs of each prompt count."""
        return prompt_weights(self.connection, prompt_ids)

    def add_verdicts(self, new: Sequence[NewVerdict], stream: str) -> None:
        """Record verdicts on pairs of a stream, and what they cost; existing ones are not changed."""
        self._spending.record("judge", new, stream)

    def count_awaited(self, rows: Mapping[int, PairRow], recorded: Counter[int], opened: Counter[int]) -> list[PairRow]:
        """Lower the pairs' awaited verdicts by the recorded ones and raise them by those that are now asked for.

        Returns the pairs that wait for no more.
        """
        left = [
            rows[pair]._replace(awaited=rows[pair].awaited - count + opened[pair])
            for pair, count in sorted(recorded.items())
        ]
        _AWAITED.run(self.connection, [(row.awaited, row.id) for row in left])
        return [row for row in left if row.awaited <= 0]

    def verdicts_of(self, pair_ids: Iterable[int]) -> dict[int, list[VerdictRow]]:
        """The verdicts on pairs."""
        return verdict_rows(self.connection, pair_ids)

    def add_resolutions(self, new: Sequence[NewResolution]) -> None:
        """Record the resolutions of pairs."""
        _ADD_RESOLUTIONS.run(self.connection, [(*astuple(each), self.now) for each in new])

    def add_counts(self, counts: Iterable[Count]) -> None:
        """Add verdicts to the competency counts, in the order of their keys so that writers cannot deadlock."""
        summed: dict[tuple[str, str, str, str, int], list[float]] = {}
        for count in counts:
            key = (count.source, count.skill, count.model_a, count.model_b, count.bucket)
            cell = summed.setdefault(key, [0.0] * 4)
            for index, value in enumerate((count.wins_a, count.wins_b, count.ties, count.squares)):
                cell[index] += value
        _ADD_COUNTS.run(self.connection, [(*key, *values) for key, values in sorted(summed.items())])

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
        execute_in_order(self.connection, delete(snapshots), snapshots.c.version, versions)

    def latest_version(self) -> tuple[int, float]:
        """The version of the newest snapshot and the weight of its verdicts; (0, 0.0) if there is none."""
        query = select(snapshots.c.version, snapshots.c.verdicts).order_by(snapshots.c.version.desc()).limit(1)
        row = self.connection.execute(query).first()
        return (0, 0.0) if row is None else (row.version, row.verdicts)

    def latest_snapshot(self, newer_than: int = -1) -> tuple[int, float, bytes] | None:
        """The newest snapshot as (version, weight of its verdicts, body); None if none is newer."""
        rows = _LATEST.rows(self.connection, newer_than)
        return rows[0] if rows else None

    def export_rows(self, after: int, limit: int, kept: ExportFilter, since: float | None = None) -> list[Any]:
        """As `karma.store.exported.rows` has it."""
        return exported.rows(self.connection, after, limit, kept, since)

    def too_unequal(self, kept: ExportFilter) -> int:
        """The number of preferences that the filter leaves out for the lengths of their responses alone."""
        return exported.too_unequal(self.connection, kept)

    def uncertain_labels(self, kept: ExportFilter) -> int:
        """The number of predicted labels that the filter leaves out because they are too uncertain."""
        return exported.uncertain_labels(self.connection, kept)


def _renamed(row: Count, model: str, name: str) -> Count:
    a, b = (name if row.model_a == model else row.model_a), (name if row.model_b == model else row.model_b)
    renamed = row._replace(model_a=a, model_b=b)
    return renamed if a < b else renamed._replace(model_a=b, model_b=a, wins_a=row.wins_b, wins_b=row.wins_a)
