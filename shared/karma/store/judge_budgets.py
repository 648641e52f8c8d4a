"""Judge budgets: their state, the pairs that they decided about, and the training and audit data from those pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, func, select, update

from karma.store.bulk import Update
from karma.store.chunks import groups_in
from karma.store.pair_rows import IS_UNSURE, RESPONSE_A, RESPONSE_B, resolved
from karma.store.records import Example
from karma.store.schema import gates, pairs, prompts, resolutions
from karma.store.sql import insert_new
from karma.store.statements import Query


class BudgetedPair(NamedTuple):
    """A pair that a judge budget decided about, with its outcome (None while open)."""

    id: int
    prompt: int
    response_a: int
    response_b: int
    judged: int
    judged_probability: float
    predicted: float
    outcome: str | None
    chosen: int | None


_PAIR_COLUMNS = [(resolutions if name in ("outcome", "chosen") else pairs).c[name] for name in BudgetedPair._fields]

_LOCK = Query(select(gates.c.body).where(gates.c.stream == bindparam("stream")).with_for_update(), "stream")
_KEEP = Update(gates, "seen", "judged", "body", "stream")


class JudgeBudgets:
    """The judge budgets within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def lock(self, stream: str) -> str | None:
        """The stored state of a stream's budget, its row locked until the transaction ends; None if there is none."""
        rows = _LOCK.rows(self.connection, stream)
        if not rows:
            # A concurrent second insert waits here for the first transaction, and then reads its state.
            self.connection.execute(
                insert_new(self.connection, gates), [{"stream": stream, "seen": 0, "judged": 0, "body": ""}]
            )
            rows = _LOCK.rows(self.connection, stream)
        ((body,),) = rows
        return body or None

    def keep(self, stream: str, seen: int, judged: int, body: str) -> None:
        """Store the state of a locked budget: the pairs that it decided about, those of them to be judged, and JSON."""
        _KEEP.run(self.connection, [(seen, judged, body, stream)])

    def pairs_of(self, prompt_ids: Iterable[int]) -> dict[int, list[BudgetedPair]]:
        """All pairs of prompts that a budget decided about, in the order of their ids."""
        query = (
            select(*_PAIR_COLUMNS)
            .outerjoin(resolutions, resolutions.c.pair == pairs.c.id)
            .where(pairs.c.predicted.is_not(None))
            .order_by(pairs.c.id)
        )
        return groups_in(self.connection, query, pairs.c.prompt, prompt_ids, BudgetedPair)

    def record_predictions(self, predictions: Sequence[tuple[int, float]]) -> None:
        """Record the predictions for audited pairs beside their verdicts: (pair, P(a better | decisive))."""
        if predictions:
            statement = update(resolutions).where(resolutions.c.pair == bindparam("key"))
            rows = [{"key": pair, "value": value} for pair, value in predictions]
            self.connection.execute(statement.values(predicted=bindparam("value")), rows)

    def examples(self, limit: int) -> list[Example]:
        """The newest judged pairs under a budget with a valid verdict."""
        query = resolved(
            select(
                pairs.c.prompt,
                prompts.c.skill,
                pairs.c.response_a,
                pairs.c.response_b,
                RESPONSE_A.c.model,
                RESPONSE_B.c.model,
                pairs.c.reasons,
                resolutions.c.outcome,
                resolutions.c.chosen,
                resolutions.c.resolved_at,
            )
        ).where(pairs.c.predicted.is_not(None), pairs.c.judged == 1, resolutions.c.outcome != "unscored")
        return [Example(*row) for row in self.connection.execute(query.order_by(pairs.c.id.desc()).limit(limit))]

    def unjudged(self) -> dict[str, int]:
        """Stream → number of unjudged pairs, for the streams with a budget."""
        query = select(gates.c.stream, gates.c.seen - gates.c.judged).order_by(gates.c.stream)
        return {row[0]: int(row[1]) for row in self.connection.execute(query)}

    def audited(self, stream: str, limit: int) -> list[tuple[float, bool, int, float]]:
        """A stream's newest decisive audited pairs, without those that would have got no label.

        Returns:
            (probability of being judged, prediction is wrong, prompt, predicted P(a better | decisive)), newest first.
        """
        query = select(
            pairs.c.judged_probability,
            (resolutions.c.predicted > 0.5) != (resolutions.c.chosen == pairs.c.response_a),
            pairs.c.prompt,
            resolutions.c.predicted,
        ).where(pairs.c.judged_probability < 1.0, ~IS_UNSURE, resolutions.c.predicted.is_not(None))
        return [(row[0], bool(row[1]), row[2], row[3]) for row in self._newest_decisive(query, stream, limit)]

    def calibrating(self, stream: str, limit: int) -> list[tuple[float, bool, int, str]]:
        """A stream's newest decisive judged pairs with the label that each would have had if it had not been judged.

        For audited pairs that is the recorded prediction. Pairs judged for certain have the prediction from when they
        were formed: with fewer verdicts on their prompt's other pairs, as if those had not been judged either.

        Returns:
            (probability of being judged, prediction is wrong, prompt, reasons as JSON), newest first.
        """
        predicted = func.coalesce(resolutions.c.predicted, pairs.c.predicted)
        query = select(
            pairs.c.judged_probability,
            (predicted > 0.5) != (resolutions.c.chosen == pairs.c.response_a),
            pairs.c.prompt,
            pairs.c.reasons,
        ).where(pairs.c.predicted.is_not(None))
        return [(row[0], bool(row[1]), row[2], row[3]) for row in self._newest_decisive(query, stream, limit)]

    def _newest_decisive(self, query: Select[Any], stream: str, limit: int) -> Sequence[Any]:
        """The rows of a query over a stream's judged pairs with a decisive outcome, newest first."""
        judged = (
            query.join(resolutions, resolutions.c.pair == pairs.c.id)
            .join(prompts, prompts.c.id == pairs.c.prompt)
            .where(prompts.c.stream == stream, pairs.c.judged == 1, resolutions.c.label_source == "judge")
        )
        return self.connection.execute(judged.order_by(pairs.c.id.desc()).limit(limit)).all()
