"""Scoring's metrics: recorded calls with their cost, and the quality of resolved pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from karma.config.pool import Pool
from karma.store.canary_results import sightings
from karma.store.pair_quality import JudgeQuality, PairQuality, PolicyQuality
from karma.store.records import NewResponse, NewVerdict
from karma.telemetry import cascade_metrics, metrics
from karma.telemetry.bounded_metrics import MetricBatch
from karma.telemetry.failure_kinds import kind_of
from karma_scoring.handlers import Learned

#: Stage → the counter of its calls, and the label of a call with a result.
_CALLS = {"generate": (metrics.RESPONSES, "answered"), "judge": (metrics.VERDICTS, "valid")}


#: The counters of streams with a first judge, and the labels of each.
_OF_CASCADES = (
    (cascade_metrics.LARGER_CALLS, ("made", "saved")),
    (cascade_metrics.FIRST_JUDGE_PAIRS, ("yes", "no")),
)


class ScoringMetrics:
    """Counts committed rows in this process's metrics."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # These series start at 0: Prometheus sees the first event only as an increase of an existing series.
        for kind, names in (("generate", pool.models), ("judge", pool.judges)):
            counter, success = _CALLS[kind]
            for name in names:
                for result in (success, "failed"):
                    counter.labels(name, result)
                if name in pool.prices:
                    metrics.COST.labels(kind, name)

        for stream, settings in pool.streams.items():
            if settings.first_judge is not None:
                for counter, labels in _OF_CASCADES:
                    for label in labels:
                        counter.labels(stream, label)

    def scored(self, responses: Sequence[NewResponse]) -> None:
        """Count recorded responses."""
        batch = MetricBatch()
        for response in responses:
            self._call(batch, "generate", response.model, response)
        batch.show()

    def learned(self, learned: Learned) -> None:
        """Count recorded verdicts and the pairs that they resolved."""
        batch, stream = MetricBatch(), learned.stream
        for verdict in learned.verdicts:
            self._call(batch, "judge", verdict.judge, verdict)
        quality = PairQuality(self._pool.tie_margin)
        for pair in learned.pairs:
            quality.add(pair)
        for seen in sightings(learned.pairs, self._pool.tie_margin):
            batch.add(metrics.CANARIES, seen.judge, "attack" if seen.attack else "clean", seen.result)
        show_quality(quality, batch)
        if learned.predicted:
            batch.add(metrics.PREFERENCES, stream, "predicted", count=learned.predicted)
        if learned.ended:
            batch.add(metrics.PROMPTS_ENDED, stream, "paired", count=learned.ended)
        batch.show()

    def _call(self, batch: MetricBatch, kind: str, name: str, call: NewResponse | NewVerdict) -> None:
        """Count a result, and its call's failure, time, tokens and cost.

        Given responses and verdicts without a model have no call.
        """
        counter, success = _CALLS[kind]
        batch.add(counter, name, success if call.failure is None else "failed")
        tokens_in, tokens_out = call.tokens_in, call.tokens_out
        if call.failure:
            batch.add(metrics.FAILURES, kind, name, kind_of(call.failure))
        if call.latency_s is not None:
            batch.observe(metrics.CALL_SECONDS, (call.latency_s,), kind, name)
        for direction, tokens in (("in", tokens_in), ("out", tokens_out)):
            if tokens:
                batch.add(metrics.TOKENS, kind, name, direction, count=tokens)
        if call.cost_usd is not None:
            batch.add(metrics.COST, kind, name, count=call.cost_usd)
        elif tokens_in is None and tokens_out is None and (call.failure or call.latency_s is None):
            return
        else:
            batch.add(metrics.UNPRICED, kind, name, "tokens" if name in self._pool.prices else "price")


def show_quality(quality: PairQuality, batch: MetricBatch) -> None:
    """Add the sums of pair quality to their metrics."""
    for judge, sums in quality.judges.items():
        _show_judge(judge, sums, batch)
    for (stream, _policy), pairs in quality.policies.items():
        _show_stream(stream, pairs, batch)
    for stream, cascade in quality.cascades.items():
        made = {"made": cascade.larger_calls, "saved": cascade.larger_calls_saved}
        _add(batch, cascade_metrics.LARGER_CALLS, stream, made)
        alone = {"yes": cascade.alone, "no": cascade.pairs - cascade.alone}
        _add(batch, cascade_metrics.FIRST_JUDGE_PAIRS, stream, alone)
    for (winner, loser), count in quality.wins.items():
        if winner != loser:
            batch.add(metrics.WINS, winner, loser, count=count)


def _show_judge(judge: str, sums: JudgeQuality, batch: MetricBatch) -> None:
    for counter, values in (
        (metrics.FIRST_POSITION, {"first": sums.first, "second": sums.second}),
        (metrics.JUDGE_ORDERS, {"yes": sums.flipped, "no": sums.both_orders - sums.flipped}),
        (metrics.JUDGE_LENGTH, {"longer": sums.longer, "shorter": sums.shorter}),
        (metrics.JUDGE_AGREEMENT, {"yes": sums.agreed, "no": sums.compared - sums.agreed}),
    ):
        _add(batch, counter, judge, values)
    for vote, agreed, compared in (
        ("included", sums.label_agreed, sums.label_compared),
        ("left_out", sums.others_agreed, sums.others_compared),
    ):
        for agrees, count in (("yes", agreed), ("no", compared - agreed)):
            if count:
                batch.add(metrics.JUDGE_LABELS, judge, vote, agrees, count=count)
    if sums.longer + sums.shorter:
        batch.add(metrics.JUDGE_LONGER_EXPECTED, judge, count=sums.longer_expected)


def _show_stream(stream: str, sums: PolicyQuality, batch: MetricBatch) -> None:
    unanimous = {"yes": sums.pairs_unanimous, "no": sums.pairs_compared - sums.pairs_unanimous}
    for counter, values in (
        (metrics.PAIRS_RESOLVED, sums.outcomes),
        (metrics.PREFERENCES, sums.sources),
        (metrics.JUDGES_COMPARED, {"yes": sums.agreed, "no": sums.compared - sums.agreed}),
        (metrics.ORDERS_COMPARED, {"yes": sums.flipped, "no": sums.both_orders - sums.flipped}),
        (metrics.PAIRS_BY_AGREEMENT, unanimous),
        (metrics.LONGER_CHOSEN, sums.lengths),
        (metrics.PRIOR_AGREEMENT, {"yes": sums.by_prior[True], "no": sums.by_prior[False]}),
    ):
        _add(batch, counter, stream, values)
    for counter, amount in (
        (metrics.PAIRS_BOTH_ORDERS, sums.pairs_both_orders),
        (metrics.PAIRS_FLIPPED, sums.pairs_flipped),
        (metrics.LONGER_EXPECTED, sums.longer_expected),
        (metrics.LONGER_VARIANCE, sums.longer_variance),
    ):
        batch.add(counter, stream, count=amount)
    batch.observe(metrics.PREFERENCE_PROBABILITY, sums.probabilities, stream)
    batch.observe(metrics.LENGTH_RATIO, sums.ratios, stream)


def _add(batch: MetricBatch, counter: Any, name: str, values: Mapping[str, float]) -> None:
    for label, count in values.items():
        if count:
            batch.add(counter, name, label, count=count)
