"""Records verdicts of people: rows as those of any judge, which teach the competencies as a source of their own.

What a pair was resolved to stays. The verdicts say how often judges are right, and anchor the weights of a jury.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from karma.config.derived_streams import teaches
from karma.ranking.verdict_sources import HUMAN
from karma.ranking.verdict_weights import PromptWeight
from karma.store import Transaction
from karma.store.chunks import rows_in
from karma.store.pair_rows import RESPONSE_A, RESPONSE_B, joined
from karma.store.records import Count, NewVerdict, VerdictRow
from karma.store.schema import pairs, prompts
from karma.verdicts import a_is_better
from karma_scoring.fit.time_buckets import bucket_at
from karma_scoring.human_lines import HumanLine, LineRefusedError, read_line

_PROBABILITY = {"first": 1.0, "second": 0.0, "tie": 0.5}


class _Pair(NamedTuple):
    """A pair that a line may mean."""

    id: int
    prompt: int
    stream: str
    prompt_id: str
    skill: str | None
    model_a: str
    model_b: str
    sample_a: int
    sample_b: int


@dataclass
class Recorded:
    """What came of some lines."""

    added: int = 0
    present: int = 0  # said before, by the same person
    refused: list[tuple[int, str]] = field(default_factory=list)  # number of the line, reason


def record(
    lines: Sequence[tuple[int, bytes]],
    stream: str,
    transaction: Transaction,
    judge: str | None = None,
    asked: Collection[str] = (),
) -> Recorded:
    """Record the verdicts of some lines in the transaction; a bad line is refused and changes nothing.

    Args:
        lines: number and content of each.
        stream: that the pairs belong to.
        transaction: which adds the rows.
        judge: who said it where a line does not say.
        asked: names of the pool's judges that are no people.
    """
    receipt, read = Recorded(), []
    for number, content in lines:
        try:
            line = read_line(content, judge)
            if line.judge in asked:
                raise LineRefusedError(f"{line.judge!r} is a judge of the pool file that is asked: name the person")
            read.append((number, line))
        except LineRefusedError as cause:
            receipt.refused.append((number, str(cause)))
    found = _Pairs(transaction.ledger.connection, stream, [line for _number, line in read])
    meant: list[tuple[int, HumanLine, _Pair]] = []
    for number, line in read:
        try:
            meant.append((number, line, found.of(line)))
        except LineRefusedError as cause:
            receipt.refused.append((number, str(cause)))
    transaction.ledger.lock_prompts({pair.prompt for _number, _line, pair in meant})
    known = dict(transaction.preferences.verdicts_of({pair.id for _number, _line, pair in meant}))
    weights = transaction.preferences.prompt_weights({pair.prompt for _number, _line, pair in meant})
    new: list[NewVerdict] = []
    counts: list[Count] = []
    for number, line, pair in meant:
        verdict = _verdict(line, pair)
        given = known.setdefault(pair.id, [])
        try:
            is_new = _is_new(verdict, given)
        except LineRefusedError as cause:
            receipt.refused.append((number, str(cause)))
            continue
        if not is_new:
            receipt.present += 1
            continue
        is_first = not any(each.template_hash == HUMAN for each in given)
        if is_first and teaches(stream) and pair.model_a != pair.model_b:
            counts.append(_count(verdict, pair, weights[pair.prompt], transaction.ledger.now))
        given.append(VerdictRow(pair.id, verdict.judge, verdict.shown, verdict.probability, None, template_hash=HUMAN))
        new.append(verdict)
    transaction.preferences.add_verdicts(new, stream)
    transaction.preferences.add_counts(counts)
    receipt.added = len(new)
    receipt.refused.sort()
    return receipt


class _Pairs:
    """The pairs that some lines name."""

    def __init__(self, connection: Connection, stream: str, lines: Sequence[HumanLine]) -> None:
        self._stream = stream
        by_number = {line.pair for line in lines if line.pair is not None}
        by_prompt = {line.prompt_id for line in lines if line.pair is None}
        query = joined(
            select(
                *(pairs.c.id, pairs.c.prompt, prompts.c.stream, prompts.c.prompt_id, prompts.c.skill),
                *(RESPONSE_A.c.model, RESPONSE_B.c.model, RESPONSE_A.c.sample, RESPONSE_B.c.sample),
            )
        ).join(prompts, prompts.c.id == pairs.c.prompt)
        of_stream = query.where(prompts.c.stream == stream)
        self._by_number = {row[0]: _Pair(*row) for row in rows_in(connection, query, pairs.c.id, by_number)}
        self._by_prompt: dict[str, list[_Pair]] = {}
        for row in _rows(rows_in(connection, of_stream, prompts.c.prompt_id, by_prompt)):
            self._by_prompt.setdefault(row.prompt_id, []).append(row)

    def of(self, line: HumanLine) -> _Pair:
        """The pair that a line names.

        Raises:
            LineRefusedError: none, or more than one.
        """
        if line.pair is not None:
            pair = self._by_number.get(line.pair)
            if pair is None or pair.stream != self._stream:
                other = "" if pair is None else f"; it is of the stream {pair.stream!r}"
                raise LineRefusedError(f"the stream {self._stream!r} has no pair {line.pair}{other}")
            if line.prompt_id not in (None, pair.prompt_id) or not _orders(line, pair):
                raise LineRefusedError(
                    f"pair {line.pair} is of the prompt {pair.prompt_id!r} and the models {pair.model_a!r} and "
                    f"{pair.model_b!r}, which is not what the line says"
                )
            return pair
        found = [pair for pair in self._by_prompt.get(line.prompt_id or "", ()) if _orders(line, pair)]
        if len(found) == 1:
            return found[0]
        between = f"of {line.first!r} and {line.second!r} on the prompt {line.prompt_id!r}"
        if not found:
            raise LineRefusedError(f"the stream {self._stream!r} has no pair {between}")
        numbers = ", ".join(str(pair.id) for pair in found)
        raise LineRefusedError(f"there are {len(found)} pairs {between}: name one by its number, {numbers}")


def _rows(rows: Iterable[Any]) -> Iterable[_Pair]:
    return (_Pair(*row) for row in rows)


def _orders(line: HumanLine, pair: _Pair) -> list[int]:
    """The orders in which the line may have shown the pair: 0 with response a first, 1 with b."""
    sides = ((pair.model_a, pair.sample_a), (pair.model_b, pair.sample_b))
    named = ((line.first, line.first_sample), (line.second, line.second_sample))

    def fits(shown: tuple[tuple[str, int], ...]) -> bool:
        return all(
            model in (None, of[0]) and sample in (None, of[1]) for (model, sample), of in zip(named, shown, strict=True)
        )

    return [order for order in (0, 1) if fits(sides if order == 0 else sides[::-1])]


def _verdict(line: HumanLine, pair: _Pair) -> NewVerdict:
    shown = _orders(line, pair)[0]
    return NewVerdict(
        pair=pair.id,
        judge=line.judge,
        template_hash=HUMAN,
        shown=shown,
        probability=_PROBABILITY[line.said],
        failure=None,
        rationale=line.rationale,
        tokens_in=None,
        tokens_out=None,
        latency_s=None,
    )


def _is_new(verdict: NewVerdict, given: Sequence[VerdictRow]) -> bool:
    """Whether the person has not judged the pair yet.

    Raises:
        LineRefusedError: the person said otherwise before, or the name is that of a judge.
    """
    for each in given:
        if each.judge != verdict.judge:
            continue
        if each.template_hash != HUMAN:
            raise LineRefusedError(f"{each.judge!r} is a judge with verdicts of its own on pair {each.pair}")
        assert each.probability is not None  # noqa: S101 - people's verdicts never fail
        assert verdict.probability is not None  # noqa: S101
        if a_is_better(each.probability, each.shown) != a_is_better(verdict.probability, verdict.shown):
            raise LineRefusedError(f"{each.judge} said otherwise of pair {each.pair} before, and the first word stands")
        return False
    return True


def _count(verdict: NewVerdict, pair: _Pair, weights: PromptWeight, now: float) -> Count:
    """What the first person's verdict on a pair adds; a second person's is about the same two responses."""
    assert verdict.probability is not None  # noqa: S101
    a_better = a_is_better(verdict.probability, verdict.shown)
    weight, square = weights.of(1.0)
    first, second = pair.model_a, pair.model_b
    if first > second:
        first, second, a_better = second, first, 1.0 - a_better
    return Count(
        source=HUMAN,
        skill=pair.skill or "",
        model_a=first,
        model_b=second,
        bucket=bucket_at(now),
        wins_a=weight * (a_better == 1.0),
        wins_b=weight * (a_better == 0.0),
        ties=weight * (a_better == 0.5),
        squares=square,
    )
