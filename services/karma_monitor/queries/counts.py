"""Open work, judge budgets and the size of the store: quick to read however long the ledger is."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from karma.store.schema import (
    PARKED,
    batches,
    gates,
    work_items,
)


def open_items(connection: Connection) -> dict[tuple[str, str], int]:
    """Work that is asked for and not yet recorded, by stage and model or judge; what waits for admission is not."""
    columns = work_items.c.stage, work_items.c.target
    query = select(*columns, func.count()).where(work_items.c.batch != PARKED).group_by(*columns)
    return {(stage, target): count for stage, target, count in connection.execute(query)}


def oldest_batches(connection: Connection) -> dict[str, float]:
    """When the oldest batch with open work was opened, by stage, seconds since 1970."""
    is_open = select(work_items.c.id).where(work_items.c.batch == batches.c.id).exists()
    query = select(batches.c.stage, func.min(batches.c.created_at)).where(is_open).group_by(batches.c.stage)
    return {stage: float(created_at) for stage, created_at in connection.execute(query)}


def budgeted_pairs(connection: Connection) -> dict[str, tuple[int, int]]:
    """By stream with a judge budget: pairs that were judged, and pairs that were left to the prediction."""
    query = select(gates.c.stream, gates.c.judged, gates.c.seen)
    return {stream: (judged, seen - judged) for stream, judged, seen in connection.execute(query)}


def size_bytes(connection: Connection) -> int:
    """The size of the database."""
    if connection.dialect.name == "postgresql":
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
