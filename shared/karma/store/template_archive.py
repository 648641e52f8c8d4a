"""The templates that judges were asked by: kept in the store, because the pool file may have other texts tomorrow."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import Connection, select

from karma.config.judge_templates import Template, known_templates
from karma.messages import JudgeSpec
from karma.plugins.registry import judge_kind
from karma.store.chunks import rows_in
from karma.store.database import Store
from karma.store.schema import judge_templates
from karma.store.sql import insert_new


class TemplateArchive:
    """Keeps each version of a template once; it knows which ones this process has kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: set[str] = set()

    def keep(self, judges: Iterable[JudgeSpec]) -> None:
        """Keep the templates that the judges are asked by, before they are asked.

        Raises:
            OutageError: the store is unavailable.
        """
        found = known_templates(judge for judge in judges if judge_kind(judge.kind).has_template)
        new = {hashed: template for hashed, template in found.items() if hashed not in self._kept}
        if not new:
            return
        with self._store.transaction() as transaction:
            add(transaction.ledger.connection, new, transaction.ledger.now)
        self._kept |= new.keys()


def add(connection: Connection, templates: Mapping[str, Template], now: float) -> None:
    """Add templates by their hashes; those that are kept already stay as they are."""
    rows = [
        {
            "hash": hashed,
            "name": template.name,
            "text": template.text,
            "criteria": json.dumps(dict(template.criteria), ensure_ascii=False),
            "created_at": now,
        }
        for hashed, template in sorted(templates.items())
    ]
    connection.execute(insert_new(connection, judge_templates), rows)


def kept(connection: Connection, hashes: Collection[str]) -> dict[str, Template]:
    """The kept templates with these hashes, by hash."""
    columns = judge_templates.c.hash, judge_templates.c.name, judge_templates.c.text, judge_templates.c.criteria
    found = rows_in(connection, select(*columns), judge_templates.c.hash, sorted(hashes))
    return {row.hash: Template(row.name, row.text, json.loads(row.criteria)) for row in found}
