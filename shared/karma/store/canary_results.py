"""How judges see canaries: each judge's opinion on a pair whose answer is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from sqlalchemy import Connection, select

from karma.config.derived_streams import CANARIES, MARK, canaries_of
from karma.store.pair_rows import pair_records
from karma.store.prompt_states import IS_DONE
from karma.store.records import PairRecord
from karma.store.schema import pairs, prompts, resolutions, streams
from karma.verdicts import CANARY, Side, opinions

#: `right`: the judge prefers the right response; `wrong`: the other one; `none`: neither; `failed`: no valid verdict.
Result = Literal["right", "wrong", "none", "failed"]


class Sighting(NamedTuple):
    """A judge's opinion on one canary."""

    judge: str
    attack: bool  # whether the wrong response has an attack inside
    result: Result


def sightings(records: Iterable[PairRecord], tie_margin: Callable[[str], float]) -> Iterator[Sighting]:
    """The opinions of all judges on the canaries among some resolved pairs."""
    for record in records:
        if record.pair.canary is None:
            continue
        right, attack = record.pair.canary
        sides = {one.judge: one.side for one in opinions(record.verdicts, tie_margin(record.stream))}
        for judge in dict.fromkeys(verdict.judge for verdict in record.verdicts):
            yield Sighting(judge, attack, _result(sides.get(judge), right))


def _result(side: Side | None, right: str) -> Result:
    if side is None:
        return "failed"
    return "none" if side == "none" else "right" if side == right else "wrong"


def newest_canaries(connection: Connection, stream: str | None, limit: int) -> list[PairRecord]:
    """The newest resolved canaries of a stream, or of all, at most `limit`."""
    of_stream = streams.c.name.endswith(f"{MARK}{CANARIES}", autoescape=True)
    named = select(streams.c.name).where(of_stream if stream is None else streams.c.name == canaries_of(stream))
    names = list(connection.execute(named).scalars())
    if not names:
        return []
    query = (
        select(pairs.c.id)
        .join(prompts, prompts.c.id == pairs.c.prompt)
        .join(resolutions, resolutions.c.pair == pairs.c.id)
        .where(IS_DONE, prompts.c.stream.in_(names), resolutions.c.outcome == CANARY)
        .order_by(pairs.c.id.desc())
        .limit(limit)
    )
    return pair_records(connection, list(connection.execute(query).scalars()))
