"""Discovered skills: prompts without a label, and the clusters that they are assigned to.

Lock discipline: first the prompts' rows in the order of their ids, then `lock_clusters`. After that, other prompts'
rows are only locked if they are free (`skip_locked`), so no deadlock is possible.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, or_, select, update

from karma.store.chunks import rows_in
from karma.store.schema import prompts, skill_clusters, streams
from karma.store.sql import insert_new

_NUMBER = re.compile(r"skill-(\d+)")


@dataclass(frozen=True)
class SkillCluster:
    """One skill of a stream. Weight 0: it was merged into another skill, and its name stays reserved."""

    name: str  # `skill-N`, N unique in the store
    weight: float  # prompts in it
    centroid: bytes  # float32, one number per dimension of the embedder


def unlabeled(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """Prompts among `ids` that have no skill: id → messages (JSON), in the order of their ids."""
    query = select(prompts.c.id, prompts.c.messages).where(prompts.c.skill.is_(None)).order_by(prompts.c.id)
    return {row.id: row.messages for row in rows_in(connection, query, prompts.c.id, ids)}


def sample(connection: Connection, stream: str, between: tuple[int, int], names: Sequence[str], size: int) -> list[int]:
    """At most `size` prompts of a stream with ids in `between`, evenly spaced: without a skill, or with one of `names`.

    The range of ids bounds the rows read, however long the stream is. Prompts in any state count: waiting ones show
    what is about to be processed.
    """
    query = select(prompts.c.id).where(
        prompts.c.id.between(*between),
        prompts.c.stream == stream,
        or_(prompts.c.skill.is_(None), prompts.c.skill.in_(names)),
    )
    ids = list(connection.execute(query.order_by(prompts.c.id)).scalars())
    number = min(size, len(ids))
    return [ids[index * len(ids) // number] for index in range(number)]


def clusters(connection: Connection, stream: str) -> list[SkillCluster]:
    """The skills of a stream in the order of their creation."""
    query = select(skill_clusters.c.name, skill_clusters.c.weight, skill_clusters.c.centroid)
    stored = [SkillCluster(*row) for row in connection.execute(query.where(skill_clusters.c.stream == stream))]
    return sorted(stored, key=lambda cluster: _number(cluster.name))


def lock_clusters(connection: Connection) -> None:
    """Keep other transactions from creating skills or moving centroids until this one ends.

    It locks all streams' rows in the order of their names: the names of skills are unique in the store, because
    competencies are kept by skill and not by stream. `FOR NO KEY UPDATE` does not block the ingest of prompts.
    """
    connection.execute(select(streams.c.name).order_by(streams.c.name).with_for_update(key_share=True)).all()


def next_number(connection: Connection) -> int:
    """The number of the next skill. The caller holds `lock_clusters`."""
    return 1 + max((_number(name) for name in connection.execute(select(skill_clusters.c.name)).scalars()), default=0)


def write_clusters(connection: Connection, stream: str, changed: Sequence[SkillCluster]) -> None:
    """Add skills, or update existing ones. The caller holds `lock_clusters`."""
    if not changed:
        return
    rows = [{"stream": stream, **vars(cluster)} for cluster in changed]
    connection.execute(insert_new(connection, skill_clusters), rows)
    statement = update(skill_clusters).where(
        skill_clusters.c.stream == stream, skill_clusters.c.name == bindparam("cluster")
    )
    connection.execute(
        statement.values(weight=bindparam("new_weight"), centroid=bindparam("new_centroid")),
        [{"cluster": each.name, "new_weight": each.weight, "new_centroid": each.centroid} for each in changed],
    )


def write_skills(connection: Connection, skills: Mapping[int, str], locked: bool) -> None:
    """Assign skills to prompts that have none; a prompt that has one keeps it.

    Args:
        connection: of the transaction.
        skills: prompt → skill.
        locked: whether the caller holds the prompts' rows. If not, rows that another transaction holds are skipped.
    """
    ids = sorted(skills)
    if not locked:
        query = select(prompts.c.id).order_by(prompts.c.id).with_for_update(skip_locked=True)
        ids = [row.id for row in rows_in(connection, query, prompts.c.id, ids)]
    if ids:
        statement = update(prompts).where(prompts.c.id == bindparam("key"), prompts.c.skill.is_(None))
        rows = [{"key": id_, "assigned": skills[id_]} for id_ in ids]
        connection.execute(statement.values(skill=bindparam("assigned")), rows)


def _number(name: str) -> int:
    matched = _NUMBER.fullmatch(name)
    return int(matched[1]) if matched else 0
