"""Reads the newest pairs that several judges, or a person, looked at, with their valid verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, literal_column, select

from karma.ranking.verdict_sources import HUMAN
from karma.store.chunks import rows_in
from karma.store.pair_rows import IS_FIRST_ALONE, RESPONSE_A, RESPONSE_B, joined
from karma.store.schema import pairs, prompts, verdicts

#: Written as the condition of the index, which a parameter would hide from the planner.
_IS_HUMAN = verdicts.c.template_hash == literal_column(f"'{HUMAN}'")
#: Verdicts that are read to find pairs of several judges, for each such pair wanted.
_VERDICTS_PER_PAIR = 6


class JuryVerdict(NamedTuple):
    """A valid verdict."""

    pair: int
    judge: str
    shown: int
    probability: float
    template_hash: str
    failure: str | None  # none: it is valid


class JuryPair(NamedTuple):
    """A pair with what its reference says."""

    id: int
    prompt: int
    stream: str
    skill: str | None
    quality_a: float | None  # by the reference, in [0, 1]
    quality_b: float | None

    @property
    def reference(self) -> int:
        """1 if the reference calls response a right and b wrong, −1 for the opposite, else 0."""
        if self.quality_a is None or self.quality_b is None:
            return 0
        return (self.quality_a > 0.5) - (self.quality_b > 0.5)


class JuryVerdicts(NamedTuple):
    """Pairs, and the verdicts on them."""

    pairs: Sequence[JuryPair]
    verdicts: Sequence[JuryVerdict]

    @property
    def people(self) -> frozenset[str]:
        """The judges that are people."""
        return frozenset(each.judge for each in self.verdicts if each.template_hash == HUMAN)


def jury_verdicts(connection: Connection, limit: int) -> JuryVerdicts:
    """The newest pairs that two judges or more gave a verdict on, and those with the verdict of a person.

    Args:
        connection: of a transaction.
        limit: pairs of each kind at most.
    """
    newest = _valid().order_by(verdicts.c.id.desc()).limit(_VERDICTS_PER_PAIR * limit)
    found = [JuryVerdict._make(row) for row in connection.execute(newest)]
    found = _without_selected(connection, found)
    shared = sorted(_shared(found), reverse=True)[:limit]
    labeled = human_pairs(connection, limit)
    wanted = {*shared} - {*labeled}
    kept = [each for each in found if each.pair in wanted]
    kept += [JuryVerdict._make(row) for row in rows_in(connection, _valid(), verdicts.c.pair, labeled)]
    return JuryVerdicts(jury_pairs(connection, {each.pair for each in kept}), kept)


def _shared(found: Iterable[JuryVerdict]) -> set[int]:
    """The pairs of several judges."""
    judges: dict[int, set[str]] = {}
    for each in found:
        judges.setdefault(each.pair, set()).add(each.judge)
    return {pair for pair, names in judges.items() if len(names) > 1}


def _without_selected(connection: Connection, found: Sequence[JuryVerdict]) -> list[JuryVerdict]:
    """Without the first judge of a cascade where it called for the others: there it is wrong more often than elsewhere.

    Pairs that an audit showed to all judges are a sample of all pairs, and stay.
    """
    called = called_judges(connection, _shared(found))
    return [each for each in found if each.pair not in called or each.judge != called[each.pair].first]


class CalledJudges(NamedTuple):
    """The judges of a pair of a cascade that its audit did not draw."""

    first: str
    larger: frozenset[str]  # are asked only where the first one's verdicts call for them


def called_judges(connection: Connection, ids: Iterable[int]) -> dict[int, CalledJudges]:
    """Pair → its judges, of those pairs whose larger judges were not asked at once."""
    query = select(pairs.c.id, pairs.c.reasons).where(IS_FIRST_ALONE)
    plans = {row.id: json.loads(row.reasons)["judges"] for row in rows_in(connection, query, pairs.c.id, ids)}
    return {id_: CalledJudges(plan["first"], frozenset(plan["later"])) for id_, plan in plans.items()}


def human_verdicts(connection: Connection, limit: int) -> JuryVerdicts:
    """The newest pairs with the verdict of a person, at most `limit`, and all valid verdicts on them.

    Without those of the larger judges of a cascade where the first one called for them: such pairs are harder.
    """
    labeled = human_pairs(connection, limit)
    called = called_judges(connection, labeled)
    found = [JuryVerdict._make(row) for row in rows_in(connection, _valid(), verdicts.c.pair, labeled)]
    found = [each for each in found if each.pair not in called or each.judge not in called[each.pair].larger]
    return JuryVerdicts(jury_pairs(connection, labeled), found)


def human_pairs(connection: Connection, limit: int) -> list[int]:
    """The newest pairs with the verdict of a person."""
    query = select(verdicts.c.pair).distinct().where(_IS_HUMAN).order_by(verdicts.c.pair.desc()).limit(limit)
    return list(connection.execute(query).scalars())


def people(connection: Connection) -> frozenset[str]:
    """The names of all people with a verdict."""
    return frozenset(connection.execute(select(verdicts.c.judge).distinct().where(_IS_HUMAN)).scalars())


def jury_pairs(connection: Connection, ids: Iterable[int]) -> list[JuryPair]:
    """Pairs by their ids, with what their references say."""
    columns = (pairs.c.id, pairs.c.prompt, prompts.c.stream, prompts.c.skill)
    query = joined(select(*columns, RESPONSE_A.c.quality, RESPONSE_B.c.quality))
    query = query.join(prompts, prompts.c.id == pairs.c.prompt)
    return [JuryPair._make(row) for row in rows_in(connection, query, pairs.c.id, ids)]


def _valid() -> Select[Any]:
    columns = (verdicts.c[name] for name in JuryVerdict._fields)
    return select(*columns).where(verdicts.c.probability.is_not(None))
