"""`karma verdicts`: records verdicts of people from a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

import typer

from karma.errors import SettingsError
from karma.store import Store
from karma.store.database import COUNTING_S
from karma.store.given_verdicts import GivenVerdict, given_verdicts
from karma.store.streams import check_stream
from karma.telemetry.escaping import escape_control
from karma_cli.options import HomeOption, PoolOption, open_store, pool_if_any, read_environment
from karma_cli.output import Output, warn, with_format_flags
from karma_gateway.ingest import Refusal
from karma_gateway.sources.items import Line
from karma_gateway.sources.json_lines import read_lines
from karma_scoring.human_verdicts import Recorded, record

_MOST_BYTES = 1 << 20
_PAIRS_AT_ONCE = 500
_PRINTED_REFUSALS = 20


@with_format_flags
def verdicts(
    output: Output,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream that the pairs belong to.")],
    source: Annotated[
        str | None, typer.Argument(metavar="FILE|-", help="JSON Lines or a JSON array; - for standard input.")
    ] = None,
    given: Annotated[
        bool, typer.Option("--given", help="Record the verdicts that came with the prompts (enqueue --verdicts-as).")
    ] = False,
    judge: Annotated[str | None, typer.Option("--judge", help="Who judged, where a line does not say.")] = None,
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Record verdicts of people on pairs that exist.

    One JSON object per line: `verdict` (`first`, `second` or `tie`); `pair` (its number, or its id in an export), or
    `prompt_id` with `first` and `second`, the models of the two responses; `judge`, unless `--judge` says it. Without
    `first`, response a of `karma explain` was first. The same line twice adds nothing.

    The verdicts say how often judges are right (`karma status`, `karma report`), weigh juries and teach competencies;
    what pairs were resolved to stays. A refused line is named by its number; exit 1 if one was.

    `--given` records those that came with the prompts, on the pairs that have been formed by now; run it again later.

    `-q` prints the number of new verdicts.
    """
    if given == (source is not None):
        raise SettingsError("name a file of verdicts, or --given for those that came with the prompts")
    env = read_environment(home, pool)
    read_pool = pool_if_any(env, required=pool is not None)
    asked = frozenset(read_pool.judges) if read_pool else frozenset()
    if judge is None and read_pool is not None and len(read_pool.people) == 1:
        (judge,) = read_pool.people
    total = Recorded()
    with closing(open_store(env, promised=True)) as store:
        with store.reading() as transaction:
            check_stream(transaction.ledger.connection, stream)
        chunks = _given(store, stream) if source is None else read_lines(source, _MOST_BYTES)
        for lines in chunks:
            with store.transaction() as transaction:
                part = record([(line.number, line.content) for line in lines], stream, transaction, judge, asked)
            for number, reason in part.refused[: max(0, _PRINTED_REFUSALS - len(total.refused))]:
                refusal = Refusal(lines[0].source, number, reason)
                print(f"× {escape_control(str(refusal))}", file=sys.stderr)
            total.added, total.present = total.added + part.added, total.present + part.present
            total.refused += part.refused
    counts = {"added": total.added, "present": total.present, "refused": len(total.refused)}
    if not any(counts.values()):
        warn(f"{source} holds no verdict" if source else f"no pair of {stream} has a verdict that came with its prompt")
    if len(total.refused) > _PRINTED_REFUSALS:
        warn(f"{len(total.refused) - _PRINTED_REFUSALS} further refusals are only counted")
    output.note(f"{total.added} added, {total.present} already present, {len(total.refused)} refused")
    output.result({"stream": stream, **counts}, None, [total.added])
    if total.refused:
        raise typer.Exit(1)


def _given(store: Store, stream: str) -> Iterator[list[Line]]:
    """The verdicts that came with a stream's prompts, on the pairs that it has by now, as lines of a file."""
    after: int | None = 0
    while after is not None:
        with store.reading(COUNTING_S) as transaction:
            found, after = given_verdicts(transaction.ledger.connection, stream, after, _PAIRS_AT_ONCE)
        if found:
            yield [Line(f"pair of {stream}", each.pair, _line(each)) for each in found]


def _line(given: GivenVerdict) -> bytes:
    said = {1.0: "first", 0.0: "second"}.get(given.probability, "tie")
    return json.dumps({"pair": given.pair, "verdict": said, "judge": given.judge}).encode()
