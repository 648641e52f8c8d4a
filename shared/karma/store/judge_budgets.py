"""JudgeBudgets: what they have seen, the pairs that went through them, and what is learnt and audited from those."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, select, update

from karma.store.chunks import chunks
from karma.store.records import BudgetedPair, Example
from karma.store.schema import gates, pairs, prompts, resolutions, responses
from karma.store.sql import insert_new


class JudgeBudgets:
    """The gates within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def lock(self, stream: str) -> str | None:
        """A stream's gate as it was kept, its row locked until the end of the transaction; None before the first."""
        query = select(gates.c.body).where(gates.c.stream == stream).with_for_update()
        found: str | None = self.connection.execute(query).scalar()
        if found is None:
            # Whoever comes second waits here for the first, and then reads what it kept.
            self.connection.execute(
                insert_new(self.connection, gates), [{"stream": stream, "seen": 0, "judged": 0, "body": ""}]
            )
            found = self.connection.execute(query).scalar()
        return found or None

    def keep(self, stream: str, seen: int, judged: int, body: str) -> None:
        """Keep a gate whose row is locked: the pairs that it has seen, those that were judged, and its state."""
        self.connection.execute(
            update(gates).where(gates.c.stream == stream).values(seen=seen, judged=judged, body=body)
        )

    def pairs_of(self, prompt_ids: Iterable[int]) -> dict[int, list[BudgetedPair]]:
        """All pairs of prompts that a gate decided about, in order of their ids."""
        found: dict[int, list[BudgetedPair]] = defaultdict(list)
        for chunk in chunks(sorted(set(prompt_ids))):
            query = (
                select(
                    pairs.c.id,
                    pairs.c.prompt,
                    pairs.c.response_a,
                    pairs.c.response_b,
                    pairs.c.judged,
                    pairs.c.judged_probability,
                    pairs.c.predicted,
                    resolutions.c.outcome,
                    resolutions.c.chosen,
                )
                .outerjoin(resolutions, resolutions.c.pair == pairs.c.id)
                .where(pairs.c.prompt.in_(chunk), pairs.c.predicted.is_not(None))
                .order_by(pairs.c.id)
            )
            for row in self.connection.execute(query):
                found[row.prompt].append(BudgetedPair(*row))
        return found

    def note_expected(self, predictions: Sequence[tuple[int, float]]) -> None:
        """Note beside audited verdicts what would have been predicted without them: (pair, P(a better | decisive))."""
        if predictions:
            statement = update(resolutions).where(resolutions.c.pair == bindparam("key"))
            rows = [{"key": pair, "value": value} for pair, value in predictions]
            self.connection.execute(statement.values(predicted=bindparam("value")), rows)

    def examples(self, limit: int) -> list[Example]:
        """The newest judged pairs that went through a gate and came to a preference or a tie."""
        a, b = responses.alias("a"), responses.alias("b")
        query = (
            select(
                pairs.c.prompt,
                prompts.c.skill,
                pairs.c.response_a,
                pairs.c.response_b,
                a.c.model,
                b.c.model,
                pairs.c.reasons,
                resolutions.c.outcome,
                resolutions.c.chosen,
            )
            .join(resolutions, resolutions.c.pair == pairs.c.id)
            .join(prompts, prompts.c.id == pairs.c.prompt)
            .join(a, a.c.id == pairs.c.response_a)
            .join(b, b.c.id == pairs.c.response_b)
            .where(
                pairs.c.predicted.is_not(None),
                pairs.c.judged == 1,
                resolutions.c.outcome.in_(("decisive", "tie")),
            )
            .order_by(pairs.c.id.desc())
            .limit(limit)
        )
        return [Example(*row) for row in self.connection.execute(query)]

    def unjudged(self) -> dict[str, int]:
        """The streams that have a gate, with the number of their pairs that no judge was asked about."""
        query = select(gates.c.stream, gates.c.seen - gates.c.judged).order_by(gates.c.stream)
        return {row[0]: int(row[1]) for row in self.connection.execute(query)}

    def audited(self, stream: str, limit: int) -> list[tuple[float, bool, int]]:
        """A stream's newest decisive audited pairs: (probability of being judged, whether foretold wrongly, prompt)."""
        query = (
            select(
                pairs.c.judged_probability,
                (resolutions.c.predicted > 0.5) != (resolutions.c.chosen == pairs.c.response_a),
                pairs.c.prompt,
            )
            .join(resolutions, resolutions.c.pair == pairs.c.id)
            .join(prompts, prompts.c.id == pairs.c.prompt)
            .where(
                prompts.c.stream == stream,
                pairs.c.judged == 1,
                pairs.c.judged_probability < 1.0,
                resolutions.c.label_source == "judge",
                resolutions.c.predicted.is_not(None),
            )
            .order_by(pairs.c.id.desc())
            .limit(limit)
        )
        return [(row[0], bool(row[1]), row[2]) for row in self.connection.execute(query)]
