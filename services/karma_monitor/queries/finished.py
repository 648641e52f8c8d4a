"""What the prompts of a stream came to that finished since a moment: outcomes of their pairs, and failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from karma.config.settings import Price
from karma.store.counting import one
from karma.store.pair_rows import IS_UNSURE
from karma.store.prompt_states import IS_DEAD
from karma.store.schema import pairs, prompts, resolutions, responses
from karma.telemetry.escaping import escape_control
from karma.verdicts import OUTCOMES
from karma_monitor.queries.failures import Reason, reasons
from karma_monitor.queries.spending import Spending, spending

_REASONS = 3


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
        labels: preferences by the source of their label.
        unsure: of the predicted ones, those that the posterior was not sure about.
        spending: calls, tokens and cost.
    """

    prompts: int
    outcomes: Mapping[str, int]
    without_pair: int
    unanswered: int
    dead: int
    reasons: list[Reason]
    labels: Mapping[str, int] = field(default_factory=dict)
    unsure: int = 0
    spending: Spending = field(default_factory=Spending)

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
            "labels": {source: self.labels.get(source, 0) for source in ("judge", "predicted")},
            "unsure_labels": self.unsure,
            **self.spending.data(),
            "reasons": [reason.data() for reason in self.reasons],
        }

    def labels_sentence(self) -> str:
        """For people: the labels by their source."""
        judged, predicted = (self.labels.get(source, 0) for source in ("judge", "predicted"))
        unsure = f"; {self.unsure:,} of these are not sure enough, and exports leave them out" if self.unsure else ""
        return f"labels: {judged:,} judged, {predicted:,} predicted{unsure}"

    def sentences(self, when: str = " meanwhile") -> Iterator[str]:
        """For people: the counts of prompts that finished `when`, labels, calls and cost, then the reasons."""
        counts = {**self.outcomes, "without a pair": self.without_pair, "dead": self.dead}
        named = [f"{count:,} {what}" for what, count in counts.items() if count]
        yield f"{_counted(self.prompts, 'prompt')} finished{when}: {', '.join(named) or 'no pair'}"
        if any(self.labels.values()):
            yield self.labels_sentence()
        if self.spending.calls:
            yield self.spending.sentence()
        yield from self.reason_sentences()

    def reason_sentences(self) -> Iterator[str]:
        """For people: the most frequent reasons of failures, each with what helps."""
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


def finished_since(
    connection: Connection, stream: str, since: float, prices: Mapping[str, Price] | None = None
) -> Finished:
    """The prompts of a stream that finished since a moment, seconds since 1970; `prices` are those of the pool."""
    among = (prompts.c.stream == stream) & (prompts.c.ended_at >= since)
    failed = select(responses.c.id).where(responses.c.prompt == prompts.c.id, responses.c.failure.is_not(None))
    unpaired, total = prompts.c.no_pair.is_not(None), func.count()
    counts = total, total.filter(unpaired), total.filter(unpaired & failed.exists()), total.filter(IS_DEAD)
    count = connection.execute(select(*counts).where(among)).one()
    resolved: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    labels: Counter[str] = Counter()
    columns = resolutions.c.outcome, resolutions.c.label_source
    query = select(*columns, func.count()).join(prompts, prompts.c.id == resolutions.c.prompt)
    for outcome, source, number in connection.execute(query.where(among).group_by(*columns)):
        resolved[outcome] += number
        if source is not None:
            labels[source] += number
    unsure = 0
    if labels["predicted"]:
        of_pairs = select(total).select_from(resolutions).join(pairs, pairs.c.id == resolutions.c.pair)
        of_pairs = of_pairs.join(prompts, prompts.c.id == resolutions.c.prompt)
        unsure = one(connection, of_pairs.where(among, resolutions.c.label_source == "predicted", IS_UNSURE))
    spent = spending(connection, among, prices or {})
    return Finished(count[0], resolved, *count[1:], reasons(connection, among), labels, unsure, spent)
