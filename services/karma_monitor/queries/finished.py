"""What the prompts of a stream came to that finished since a moment: outcomes of their pairs, and failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from karma.store.schema import prompts, resolutions, responses
from karma.telemetry.escaping import escape_control
from karma.verdicts import OUTCOMES
from karma_monitor.queries.failures import Reason, reasons

_REASONS = 3
_DEAD = prompts.c.state == "dead"


@dataclass(frozen=True)
class Finished:
    """What finished prompts came to.

    Attributes:
        prompts: how many finished.
        outcomes: resolved pairs by outcome.
        without_pair: prompts that ended without a pair.
        unanswered: of these, those with a failed response.
        dead: prompts whose attempts are spent.
        reasons: of failures, the most frequent first.
    """

    prompts: int
    outcomes: Mapping[str, int]
    without_pair: int
    unanswered: int
    dead: int
    reasons: list[Reason]

    @property
    def failed(self) -> bool:
        """Whether a prompt is dead, or has nothing to show for it because calls failed."""
        return bool(self.dead or self.unanswered or self.outcomes["unscored"])

    def data(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "prompts": self.prompts,
            **self.outcomes,
            "no_pair": self.without_pair,
            "dead": self.dead,
            "reasons": [reason.data() for reason in self.reasons],
        }

    def sentences(self) -> Iterator[str]:
        """For people: the counts, then the most frequent reasons."""
        counts = {**self.outcomes, "without a pair": self.without_pair, "dead": self.dead}
        named = [f"{count:,} {what}" for what, count in counts.items() if count]
        yield f"{_counted(self.prompts, 'prompt')} finished meanwhile: {', '.join(named) or 'no pair'}"
        for reason in self.reasons[:_REASONS]:
            if reason.of == "prompts":
                failed = f"{_counted(reason.count, 'prompt')} of the stream {reason.name} died"
            else:
                failed = f"{_counted(reason.count, 'call')} of the {reason.of} {reason.name} failed"
            yield escape_control(f"{failed}: {reason.example} ({reason.help})")
        if len(self.reasons) > _REASONS:
            yield "all reasons: karma failures"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def finished_since(connection: Connection, stream: str, since: float) -> Finished:
    """The prompts of a stream that finished since a moment, seconds since 1970."""
    among = (prompts.c.stream == stream) & (prompts.c.ended_at >= since)
    failed = select(responses.c.id).where(responses.c.prompt == prompts.c.id, responses.c.failure.is_not(None))
    unpaired, total = prompts.c.no_pair.is_not(None), func.count()
    counts = total, total.filter(unpaired), total.filter(unpaired & failed.exists()), total.filter(_DEAD)
    count = connection.execute(select(*counts).where(among)).one()
    resolved: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
    query = select(resolutions.c.outcome, func.count()).join(prompts, prompts.c.id == resolutions.c.prompt)
    for outcome, number in connection.execute(query.where(among).group_by(resolutions.c.outcome)):
        resolved[outcome] = number
    return Finished(count[0], resolved, *count[1:], reasons(connection, among))
