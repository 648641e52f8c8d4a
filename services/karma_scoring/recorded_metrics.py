"""What scoring shows of what it recorded: calls and their cost, and what pairs came to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from karma.config.pool import Pool
from karma.failure_kinds import kind_of
from karma.ranking.snapshot import Snapshot
from karma.store import Transaction
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.recorded import Recorded
from karma.store.records import NewResponse, NewVerdict
from karma.telemetry import metrics
from karma.telemetry.bounded_metrics import MetricBatch
from karma_scoring.handlers import Resolved
from karma_scoring.judge_bias import Leaning, habits

#: The competencies that say what was to be expected may be older than the newest by so much.
_SNAPSHOT_S = 5.0


class Observer:
    """Counts what was committed. One for the process."""

    def __init__(self, pool: Pool, competencies: LatestSnapshot) -> None:
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
        batch_metrics = MetricBatch()
        results = Counter((one.model, one.failure is None) for one in recorded.responses)
        for (model, answered), count in results.items():
            batch_metrics.add(metrics.RESPONSES, model, "answered" if answered else "failed", count=count)
        for response in recorded.responses:
            if is_call(response):
                self._call(batch_metrics, "generate", response.model, response)
        batch_metrics.show()

    def verdicts(self, stream: str, recorded: Recorded, resolved: Sequence[Resolved], snapshot: Snapshot) -> None:
        """Verdicts that were recorded and what pairs came to; `snapshot` says what was to be expected."""
        batch_metrics = MetricBatch()
        leaning = Leaning(stream, recorded, snapshot, self._judges, self._pool.stream(stream).tie_margin)
        results = Counter((one.judge, one.failure is None) for one in recorded.verdicts)
        for (judge, valid), count in results.items():
            batch_metrics.add(metrics.VERDICTS, judge, "valid" if valid else "failed", count=count)
        for verdict in recorded.verdicts:
            leaning.add_verdict(verdict)
            if is_call(verdict):
                self._call(batch_metrics, "judge", verdict.judge, verdict)
        for one in resolved:
            leaning.add_agreement(one, batch_metrics)
            if one.resolution.outcome == "decisive" and one.resolution.probability is not None:
                leaning.add_preference(one, one.resolution.probability)
        leaning.show(batch_metrics)
        for (outcome, flipped), count in Counter(
            (one.resolution.outcome, one.resolution.flipped) for one in resolved
        ).items():
            batch_metrics.add(metrics.PAIRS_RESOLVED, stream, outcome, count=count)
            if flipped is not None:
                batch_metrics.add(metrics.PAIRS_BOTH_ORDERS, stream, count=count)
                batch_metrics.add(metrics.PAIRS_FLIPPED, stream, count=count * flipped)
        for source, count in Counter(one.label_source for one in recorded.resolutions).items():
            if source is not None:
                batch_metrics.add(metrics.PREFERENCES, stream, source, count=count)
        if recorded.ended:
            batch_metrics.add(metrics.PROMPTS_ENDED, stream, "paired", count=len(recorded.ended))
        batch_metrics.show()

    def _call(self, batch_metrics: MetricBatch, kind: str, name: str, call: NewResponse | NewVerdict) -> None:
        """A call's failure, time, tokens and cost."""
        tokens_in, tokens_out = call.tokens_in, call.tokens_out
        if call.failure:
            batch_metrics.add(metrics.FAILURES, kind, name, kind_of(call.failure))
        if call.latency_s is not None:
            batch_metrics.observe(metrics.CALL_SECONDS, (call.latency_s,), kind, name)
        if tokens_in:
            batch_metrics.add(metrics.TOKENS, kind, name, "in", count=tokens_in)
        if tokens_out:
            batch_metrics.add(metrics.TOKENS, kind, name, "out", count=tokens_out)
        if call.failure and tokens_in is None and tokens_out is None:
            return
        price = self._pool.prices.get(name)
        if price is None:
            batch_metrics.add(metrics.UNPRICED, kind, name, "price")
        elif (tokens_in is None and price.input) or (tokens_out is None and price.output):
            batch_metrics.add(metrics.UNPRICED, kind, name, "tokens")
        else:
            batch_metrics.add(metrics.COST, kind, name, count=price.of(tokens_in or 0, tokens_out or 0))


def is_call(result: NewResponse | NewVerdict) -> bool:
    """Whether a result failed or came of a call: a given response and a rule's verdict have neither time nor tokens."""
    return (
        result.failure is not None
        or result.latency_s is not None
        or result.tokens_in is not None
        or result.tokens_out is not None
    )
