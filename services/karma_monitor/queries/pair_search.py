"""Pages of pairs and dead prompts, newest first, from a given id on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, or_, select, true

from karma.store.pair_rows import RESPONSE_A, RESPONSE_B, resolved
from karma.store.prompt_states import IS_DEAD
from karma.store.schema import pairs, prompts, resolutions, verdicts


@dataclass(frozen=True)
class PairFilter:
    """Which pairs are wanted; None: any."""

    stream: str | None = None
    outcome: str | None = None  # decisive, tie, inconsistent, unscored, or open
    model: str | None = None  # of either response
    judge: str | None = None  # one that gave a verdict
    policy: str | None = None
    source: str | None = None  # of the label: judge or predicted
    text: str | None = None  # found in the prompt or in a response, in either case

    def conditions(self) -> list[ColumnElement[bool]]:
        """What the wanted pairs fulfil."""
        found: list[ColumnElement[bool]] = []
        if self.stream is not None:
            found.append(prompts.c.stream == self.stream)
        if self.outcome is not None:
            is_open = resolutions.c.outcome.is_(None)
            found.append(is_open if self.outcome == "open" else resolutions.c.outcome == self.outcome)
        if self.model is not None:
            found.append(or_(*(one.c.model == self.model for one in (RESPONSE_A, RESPONSE_B))))
        if self.judge is not None:
            judged = select(verdicts.c.id).where(verdicts.c.pair == pairs.c.id, verdicts.c.judge == self.judge)
            found.append(judged.exists())
        if self.policy is not None:
            found.append(pairs.c.policy == self.policy)
        if self.source is not None:
            found.append(resolutions.c.label_source == self.source)
        if self.text is not None:
            quoted = json.dumps(self.text, ensure_ascii=False)[1:-1]  # as it stands in the prompt's turns
            found.append(or_(prompts.c.messages.icontains(quoted, autoescape=True), self.in_response()))
        return found

    def in_response(self) -> ColumnElement[bool]:
        """Whether the text, if one is wanted, is found in a response."""
        if self.text is None:
            return true()
        return or_(*(one.c.text.icontains(self.text, autoescape=True) for one in (RESPONSE_A, RESPONSE_B)))

    def is_met(self, row: Any) -> bool:
        """Whether a row of `pairs_between` is wanted: in the prompt, the names of JSON's fields are no text."""
        if self.text is None or row.in_response:
            return True
        sought = self.text.lower()
        return any(sought in turn["content"].lower() for turn in json.loads(row.messages))


_SHOWN_CHARACTERS = 300


def newest_pair(connection: Connection) -> int:
    """The highest id of a pair; 0 where there is none."""
    return int(connection.execute(select(func.max(pairs.c.id))).scalar_one() or 0)


def pairs_between(connection: Connection, low: int, high: int, wanted: PairFilter, limit: int) -> list[Any]:
    """Pairs with ids from `low` to `high`, newest first, with the beginnings of their texts.

    Where a text is wanted, `PairFilter.is_met` must check each row.
    """
    columns = (
        pairs.c.id.label("pair"),
        prompts.c.stream,
        prompts.c.prompt_id,
        RESPONSE_A.c.model.label("model_a"),
        RESPONSE_B.c.model.label("model_b"),
        resolutions.c.outcome,
        case((resolutions.c.chosen == pairs.c.response_a, "a"), (resolutions.c.chosen.is_not(None), "b")).label(
            "chosen"
        ),
        resolutions.c.label_source.label("source"),
        resolutions.c.probability,
        resolutions.c.flipped,
        pairs.c.policy,
        pairs.c.information,
        pairs.c.kinship,
        pairs.c.gap,
        resolutions.c.resolved_at,
        prompts.c.messages,
        wanted.in_response().label("in_response"),
        *(
            func.substr(one.c.text, 1, _SHOWN_CHARACTERS).label(f"text_{side}")
            for side, one in (("a", RESPONSE_A), ("b", RESPONSE_B))
        ),
    )
    query = (
        resolved(select(*columns))
        .where(pairs.c.id.between(low, high), *wanted.conditions())
        .order_by(pairs.c.id.desc())
        .limit(limit)
    )
    return list(connection.execute(query))


def dead_prompts(connection: Connection, before: int | None, limit: int) -> list[Any]:
    """Dead prompts with ids below `before`, newest first."""
    names = ("id", "stream", "prompt_id", "error", "accepted_at", "messages")
    query = select(*(prompts.c[name] for name in names)).where(IS_DEAD)
    if before is not None:
        query = query.where(prompts.c.id < before)
    return list(connection.execute(query.order_by(prompts.c.id.desc()).limit(limit)))


def count_dead(connection: Connection) -> int:
    """How many prompts are dead."""
    return int(connection.execute(select(func.count()).where(IS_DEAD)).scalar_one())
