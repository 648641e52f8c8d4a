"""Skills that are found: prompts without a label, and the clusters that their texts fall into.

Lock discipline: first the prompts' rows in the order of their ids, then `lock_clusters`; other prompts' rows after that
are only taken where nobody holds them (`skip_locked`), so that nobody ever waits in a circle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, or_, select, update

from karma.store.chunks import chunks
from karma.store.schema import prompts, skill_clusters, streams
from karma.store.sql import insert_new

_NUMBER = re.compile(r"skill-(\d+)")


@dataclass(frozen=True)
class SkillCluster:
    """One skill of a stream. A weight of 0: it was merged into another, and its name is never given again."""

    name: str  # `skill-N`, N unique in the store
    weight: float  # prompts that formed it
    centroid: bytes  # float32, as many as the embedder has dimensions


def unlabelled(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """Prompts among `ids` that have no skill: id → messages (JSON), in the order of their ids."""
    found: dict[int, str] = {}
    for chunk in chunks(sorted(set(ids))):
        query = select(prompts.c.id, prompts.c.messages).where(prompts.c.id.in_(chunk), prompts.c.skill.is_(None))
        found.update((row.id, row.messages) for row in connection.execute(query.order_by(prompts.c.id)))
    return found


def sample(connection: Connection, stream: str, between: tuple[int, int], names: Sequence[str], size: int) -> list[int]:
    """At most `size` prompts of a stream with ids in `between`, spread evenly: without a skill, or with one of `names`.

    The range bounds what is read, however long the stream is. Prompts in any state are taken: those that still wait
    say what is coming.
    """
    query = select(prompts.c.id).where(
        prompts.c.id.between(*between),
        prompts.c.stream == stream,
        or_(prompts.c.skill.is_(None), prompts.c.skill.in_(names)),
    )
    ids = list(connection.execute(query.order_by(prompts.c.id)).scalars())
    taken = min(size, len(ids))
    return [ids[place * len(ids) // taken] for place in range(taken)]


def clusters(connection: Connection, stream: str) -> list[SkillCluster]:
    """The skills of a stream in the order in which they were found."""
    query = select(skill_clusters.c.name, skill_clusters.c.weight, skill_clusters.c.centroid)
    found = [SkillCluster(*row) for row in connection.execute(query.where(skill_clusters.c.stream == stream))]
    return sorted(found, key=lambda one: _number(one.name))


def lock_clusters(connection: Connection) -> None:
    """Let no other transaction find skills or move centroids before this one ends.

    All streams' rows are locked, in the order of their names: names are given once in the whole store, because
    competencies are kept by skill and not by stream. Who accepts prompts is not held up (`FOR NO KEY UPDATE`).
    """
    connection.execute(select(streams.c.name).order_by(streams.c.name).with_for_update(key_share=True)).all()


def next_number(connection: Connection) -> int:
    """The number of the next skill. The caller holds `lock_clusters`."""
    return 1 + max((_number(name) for name in connection.execute(select(skill_clusters.c.name)).scalars()), default=0)


def write_clusters(connection: Connection, stream: str, changed: Sequence[SkillCluster]) -> None:
    """Add skills, or move those that exist. The caller holds `lock_clusters`."""
    if not changed:
        return
    rows = [{"stream": stream, **vars(one)} for one in changed]
    connection.execute(insert_new(connection, skill_clusters), rows)
    statement = update(skill_clusters).where(
        skill_clusters.c.stream == bindparam("of"), skill_clusters.c.name == bindparam("called")
    )
    connection.execute(
        statement.values(weight=bindparam("heavy"), centroid=bindparam("middle")),
        [{"of": stream, "called": one.name, "heavy": one.weight, "middle": one.centroid} for one in changed],
    )


def write_skills(connection: Connection, skills: Mapping[int, str], locked: bool) -> None:
    """Give skills to prompts that have none; a prompt that has one keeps it.

    Args:
        connection: of the transaction.
        skills: prompt → skill.
        locked: whether the caller holds the prompts' rows; if not, rows that another transaction holds are passed over.
    """
    ids = sorted(skills)
    if not locked:
        free: list[int] = []
        for chunk in chunks(ids):
            query = select(prompts.c.id).where(prompts.c.id.in_(chunk)).order_by(prompts.c.id)
            free += connection.execute(query.with_for_update(skip_locked=True)).scalars()
        ids = free
    if ids:
        statement = update(prompts).where(prompts.c.id == bindparam("key"), prompts.c.skill.is_(None))
        connection.execute(
            statement.values(skill=bindparam("found")), [{"key": id_, "found": skills[id_]} for id_ in ids]
        )


def _number(name: str) -> int:
    matched = _NUMBER.fullmatch(name)
    return int(matched[1]) if matched else 0
