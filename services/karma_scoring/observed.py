"""What scoring shows of what it recorded: calls and their cost, and what pairs came to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from karma import metrics
from karma.competencies import Competencies
from karma.llm.failures import kind_of
from karma.pool import Pool
from karma.series import Tally
from karma.snapshot import Snapshot
from karma.store import Transaction
from karma.store.recorded import Recorded
from karma.store.records import NewResponse, NewVerdict
from karma_scoring.handlers import Resolved
from karma_scoring.leaning import Leaning, habits

#: The competencies that say what was to be expected may be older than the newest by so much.
_SNAPSHOT_S = 5.0


class Observer:
    """Counts what was committed. One for the process."""

    def __init__(self, pool: Pool, competencies: Competencies) -> None:
        self._pool = pool
        self._competencies = competencies
        self._snapshot = Snapshot.empty()
        self._looked_at = float("-inf")
        self._judges = habits(pool)
        # From the start, so that the first of each is seen to be one more.
        for kind, counter, names, results in (
            ("generate", metrics.RESPONSES, pool.models, ("answered", "failed")),
            ("judge", metrics.VERDICTS, pool.judges, ("valid", "failed")),
        ):
            for name in names:
                for result in results:
                    counter.labels(name, result)
                if name in pool.prices:
                    metrics.COST.labels(kind, name)

    def snapshot(self, transaction: Transaction) -> Snapshot:
        """The competencies that say what was to be expected."""
        if time.monotonic() - self._looked_at > _SNAPSHOT_S:
            self._looked_at = time.monotonic()
            self._snapshot = self._competencies.newest(transaction)
        return self._snapshot

    def answers(self, recorded: Recorded) -> None:
        """Responses that were recorded."""
        tally = Tally()
        results = Counter((one.model, one.failure is None) for one in recorded.responses)
        for (model, answered), count in results.items():
            tally.add(metrics.RESPONSES, model, "answered" if answered else "failed", count=count)
        for response in recorded.responses:
            if is_call(response):
                self._call(tally, "generate", response.model, response)
        tally.show()

    def verdicts(self, stream: str, recorded: Recorded, resolved: Sequence[Resolved], snapshot: Snapshot) -> None:
        """Verdicts that were recorded and what pairs came to; `snapshot` says what was to be expected."""
        tally = Tally()
        leaning = Leaning(stream, recorded, snapshot, self._judges, self._pool.stream(stream).tie_margin)
        results = Counter((one.judge, one.failure is None) for one in recorded.verdicts)
        for (judge, valid), count in results.items():
            tally.add(metrics.VERDICTS, judge, "valid" if valid else "failed", count=count)
        for verdict in recorded.verdicts:
            leaning.add_verdict(verdict)
            if is_call(verdict):
                self._call(tally, "judge", verdict.judge, verdict)
        for one in resolved:
            leaning.add_agreement(one, tally)
            if one.resolution.outcome == "decisive" and one.resolution.probability is not None:
                leaning.add_preference(one, one.resolution.probability)
        leaning.show(tally)
        for (outcome, flipped), count in Counter(
            (one.resolution.outcome, one.resolution.flipped) for one in resolved
        ).items():
            tally.add(metrics.PAIRS_RESOLVED, stream, outcome, count=count)
            if flipped is not None:
                tally.add(metrics.PAIRS_BOTH_ORDERS, stream, count=count)
                tally.add(metrics.PAIRS_FLIPPED, stream, count=count * flipped)
        for source, count in Counter(one.label_source for one in recorded.resolutions).items():
            if source is not None:
                tally.add(metrics.PREFERENCES, stream, source, count=count)
        if recorded.ended:
            tally.add(metrics.PROMPTS_ENDED, stream, "paired", count=len(recorded.ended))
        tally.show()

    def _call(self, tally: Tally, kind: str, name: str, call: NewResponse | NewVerdict) -> None:
        """A call's failure, time, tokens and cost."""
        tokens_in, tokens_out = call.tokens_in, call.tokens_out
        if call.failure:
            tally.add(metrics.FAILURES, kind, name, kind_of(call.failure))
        if call.latency_s is not None:
            tally.observe(metrics.CALL_SECONDS, (call.latency_s,), kind, name)
        if tokens_in:
            tally.add(metrics.TOKENS, kind, name, "in", count=tokens_in)
        if tokens_out:
            tally.add(metrics.TOKENS, kind, name, "out", count=tokens_out)
        if call.failure and tokens_in is None and tokens_out is None:
            return
        price = self._pool.prices.get(name)
        if price is None:
            tally.add(metrics.UNPRICED, kind, name, "price")
        elif (tokens_in is None and price.input) or (tokens_out is None and price.output):
            tally.add(metrics.UNPRICED, kind, name, "tokens")
        else:
            tally.add(metrics.COST, kind, name, count=price.of(tokens_in or 0, tokens_out or 0))


def is_call(result: NewResponse | NewVerdict) -> bool:
    """Whether a result failed or came of a call: a given response and a rule's verdict have neither time nor tokens."""
    return (
        result.failure is not None
        or result.latency_s is not None
        or result.tokens_in is not None
        or result.tokens_out is not None
    )
