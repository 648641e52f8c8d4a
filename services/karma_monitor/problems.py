"""Problems that one live status shows, by the conditions of the Prometheus alerts in `deploy/prometheus/rules`.

An alert that needs a history (rates over an hour, a sum that grows) has no entry here. Shares are tested as in the
alerts: k of n are more than a share p where k − p n > 4 √(p (1 − p) n) (Wilson 1927, JASA 22, 209–212).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from karma.config.kin_judges import kin_judges, notices
from karma.config.pool import Pool
from karma_monitor.conflicts import described
from karma_monitor.figures.formatting import share
from karma_monitor.figures.limits import down
from karma_monitor.figures.money.budgets import waiting

Status = dict[str, Any]
Severity = Literal["critical", "warning"]

_SERVICES = ("gateway", "generation", "scoring", "matching", "judging")
_QUEUE_AGE_S = 600.0
_DOWN_S = 30.0  # that an endpoint is left alone
_RATE_OF_STAGE = {"generate": "responses_per_s", "match": "pairs_per_s", "judge": "verdicts_per_s"}
_FAILED, _MOST_FAILED, _MIN_CALLS = 0.1, 0.5, 20
_FLIPPED, _MIN_PAIRS = 0.25, 50
_ONE_POSITION, _MIN_SIDED = 0.6, 100
_TIED = 0.5
_UNPRICED = 0.1
_IDENTICAL = 0.8
_LABEL_ERROR, _MIN_PREDICTED = 0.1, 1000  # for streams without max_label_error


@dataclass(frozen=True)
class Condition:
    """What the strip shows where a condition holds.

    Attributes:
        alert: the alert with the same condition; None where there is none.
        severity: critical where the stream stands still or a model or judge is unusable.
        where: address of the view with the details.
        summaries: a sentence for each occurrence.
    """

    alert: str | None
    severity: Severity
    where: str
    summaries: Callable[[Status, Pool], Iterator[str]]


def problems(status: Status, pool: Pool) -> list[dict[str, Any]]:
    """The problems of a live status, the critical ones first."""
    found = [
        {
            "alert": one.alert,
            "severity": one.severity,
            "summary": summary,
            "where": one.where,
            "runbook": None if one.alert is None else f"deploy/runbooks/{one.alert}.md",
        }
        for one in CONDITIONS
        for summary in one.summaries(status, pool)
    ]
    return sorted(found, key=lambda problem: problem["severity"] != "critical")


def exceeds(part: float, whole: float, limit: float) -> bool:
    """Whether `part` of `whole` are more than a share, by four standard deviations."""
    return part - limit * whole > 4.0 * math.sqrt(limit * (1.0 - limit) * whole)


def _unfinished(status: Status) -> int:
    return sum(count for state, count in status["states"].items() if state not in ("done", "dead"))


def _redis(status: Status, _pool: Pool) -> Iterator[str]:
    if not status["queues"] and _unfinished(status):
        yield f"Redis does not answer, and {_unfinished(status):,} prompts are unfinished."


def _workers_missing(status: Status, _pool: Pool) -> Iterator[str]:
    if status["queues"] and _unfinished(status):
        ready = {worker["service"] for worker in status["workers"] if worker["state"] == "ready"}
        if missing := [service for service in _SERVICES if service not in ready]:
            yield f"No worker of {', '.join(missing)} is ready, and {_unfinished(status):,} prompts are unfinished."


def _heartbeats_expired(status: Status, _pool: Pool) -> Iterator[str]:
    for worker in status["workers"]:
        if worker["state"] == "silent":
            age = f"{worker['beat_age_s']:.0f} s"
            yield f"The heartbeat of the {worker['service']} worker {worker['id']} expired; the last was {age} ago."


def _stage_stuck(status: Status, _pool: Pool) -> Iterator[str]:
    for queue in status["queues"]:
        rate = status["rates"].get(_RATE_OF_STAGE.get(queue["stage"], ""))
        if queue["length"] and (queue["age_s"] or 0.0) > _QUEUE_AGE_S and not rate:
            yield f"The oldest batch of the queue {queue['queue']} is {queue['age_s'] / 60:.0f} min old."


def _paused(status: Status, _pool: Pool) -> Iterator[str]:
    if status["paused"] and status["states"]["accepted"]:
        names = "All streams are" if "*" in status["paused"] else f"{', '.join(status['paused'])}:"
        yield f"{names} paused. {status['states']['accepted']:,} accepted prompts wait."


def _waits_for_budget(status: Status, _pool: Pool) -> Iterator[str]:
    yield from waiting(status.get("budgets", {}))


def _dead(status: Status, _pool: Pool) -> Iterator[str]:
    if dead := status["states"]["dead"]:
        yield f"{dead:,} prompt{'s are' if dead > 1 else ' is'} dead: the attempts are spent. Requeueing tries again."


def _errors(kind: str, most: bool) -> Callable[[Status, Pool], Iterator[str]]:
    def summaries(status: Status, _pool: Pool) -> Iterator[str]:
        for one in status["endpoints"]:
            # A verifier without a reference has nothing to go by: it did not fail.
            calls, failed = one["calls"], one["failed"] - one["failures"].get("nothing_to_go_by", 0)
            if one["kind"] != kind or calls < _MIN_CALLS or not exceeds(failed, calls, _FAILED):
                continue
            if exceeds(failed, calls, _MOST_FAILED) == most:
                reason = max(one["failures"], key=one["failures"].get, default="other")
                calls_of = f"{failed:,} of the last {calls:,} calls of the {kind} {one['name']}"
                yield f"{calls_of} failed; most frequent reason: {reason}."

    return summaries


def _other_settings(status: Status, _pool: Pool) -> Iterator[str]:
    yield from described(status["conflicts"])


def _endpoints_down(status: Status, _pool: Pool) -> Iterator[str]:
    for one in status["endpoints"]:
        limits = one.get("limits")
        if limits and limits["breaker"] != "closed" and (limits["open_s"] or 0.0) >= _DOWN_S:
            yield down(one["name"], one["kind"], limits)


def _samples_identical(status: Status, _pool: Pool) -> Iterator[str]:
    for one in status["endpoints"]:
        samples = one.get("samples")
        if samples and exceeds(samples["identical"], samples["compared"], _IDENTICAL):
            further = f"{samples['identical']:,} of {samples['compared']:,} further samples of {one['name']}"
            yield f"{further} equal the first: its endpoint may ignore the temperature."


def _order_flips(status: Status, _pool: Pool) -> Iterator[str]:
    for judge in status["quality"]["judges"]:
        if judge["both_orders"] >= _MIN_PAIRS and exceeds(judge["flipped"], judge["both_orders"], _FLIPPED):
            pairs = f"{judge['flipped']:,.0f} of {judge['both_orders']:,.0f} pairs"
            yield f"Verdicts of {judge['judge']} depend on the order: {pairs} flipped."


def _first_position(status: Status, _pool: Pool) -> Iterator[str]:
    for judge in status["quality"]["first_position"]:
        most = max(judge["share"], 1.0 - judge["share"])
        if judge["n"] >= _MIN_SIDED and exceeds(most * judge["n"], judge["n"], _ONE_POSITION):
            position = "first" if judge["share"] > 0.5 else "second"
            yield f"{judge['judge']} prefers the {position} position in {share(most)} of {judge['n']:,} verdicts."


def _kin_judges(_status: Status, pool: Pool) -> Iterator[str]:
    yield from notices(kin_judges(pool))


def _ties(status: Status, _pool: Pool) -> Iterator[str]:
    ties, pairs = status["quality"]["tie_share"] or 0.0, status["quality"]["window"]
    if pairs >= _MIN_PAIRS and exceeds(ties * pairs, pairs, _TIED):
        yield f"{share(ties)} of the last {pairs:,} resolved pairs are ties."


def _error(status: Status) -> dict[str, Any] | None:
    error: dict[str, Any] | None = status["quality"]["predicted_label_error"]
    return error


def _label_error(status: Status, pool: Pool) -> Iterator[str]:
    if error := _error(status):
        limit = pool.stream(error["stream"]).max_label_error or _LABEL_ERROR
        if error["estimate"] - limit > error["high"] - error["low"]:
            labels = f"the predicted labels of {error['stream']}"
            yield f"{share(error['estimate'])} of {labels} are wrong; limit {share(limit)}."


def _label_error_unknown(status: Status, _pool: Pool) -> Iterator[str]:
    predicted = status["preferences"]["predicted"]
    if _error(status) is None and predicted > _MIN_PREDICTED:
        yield f"{predicted:,} labels are predicted, and none has been audited."


def _cost_unknown(status: Status, _pool: Pool) -> Iterator[str]:
    outcome = status["outcome"]
    calls = sum(stage["of"] for stage in status["funnel"] if stage["stage"] in ("responses", "verdicts"))
    unknown = outcome["cost_unknown_calls"]
    if outcome["cost"] is not None and unknown > _UNPRICED * calls:
        names = ", ".join(outcome["cost_excludes"]) or "some models or judges"
        yield f"The cost leaves out {unknown:,} calls of {names}: no price or no token counts."


CONDITIONS = (
    Condition("KarmaRedisTrouble", "critical", "/", _redis),
    Condition("KarmaWorkersMissing", "critical", "/", _workers_missing),
    Condition("KarmaStageStuck", "critical", "/", _stage_stuck),
    Condition("KarmaMessagesRefused", "critical", "/", _other_settings),
    Condition("KarmaEndpointDown", "critical", "/endpoints", _endpoints_down),
    Condition("KarmaModelErrorsHigh", "critical", "/endpoints", _errors("model", most=True)),
    Condition("KarmaJudgeErrorsHigh", "critical", "/endpoints", _errors("judge", most=True)),
    Condition("KarmaModelErrorsHigh", "warning", "/endpoints", _errors("model", most=False)),
    Condition("KarmaJudgeErrorsHigh", "warning", "/endpoints", _errors("judge", most=False)),
    Condition("KarmaWorkersMissing", "warning", "/", _heartbeats_expired),
    Condition("KarmaPromptsDead", "warning", "/dead", _dead),
    Condition(None, "warning", "/", _paused),
    Condition(None, "warning", "/", _waits_for_budget),
    Condition("KarmaSamplesIdentical", "warning", "/endpoints", _samples_identical),
    Condition("KarmaOrderFlipRateHigh", "warning", "/quality", _order_flips),
    Condition("KarmaFirstPositionBias", "warning", "/quality", _first_position),
    Condition(None, "warning", "/quality", _kin_judges),
    Condition("KarmaTieRateHigh", "warning", "/quality", _ties),
    Condition("KarmaLabelErrorHigh", "warning", "/quality", _label_error),
    Condition("KarmaLabelErrorUnknown", "warning", "/quality", _label_error_unknown),
    Condition("KarmaCostUnknown", "warning", "/quality", _cost_unknown),
)
