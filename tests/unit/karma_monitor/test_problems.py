"""The problems of a live status: the conditions of the alerts, by the alerts' names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from karma.store import Store
from karma_monitor.live_status import LiveStatus
from karma_monitor.problems import CONDITIONS, exceeds, problems
from tests.support.memory import make_pool

DEPLOY = Path(__file__).parents[3] / "deploy"


def alerts() -> dict[str, str]:
    """Alert → severity, from the rules."""
    rules = "\n".join(path.read_text() for path in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml")))
    return dict(re.findall(r"- alert: (\w+)\n.*?severity: (\w+)", rules, re.DOTALL))


@pytest.fixture
def healthy() -> dict[str, Any]:
    """The status of a stream in full flow without a problem, over a real store."""
    store = Store("sqlite://")
    store.create()
    status = LiveStatus(store, None, make_pool("ab")).read()
    services = ("gateway", "generation", "scoring", "matching", "judging")
    workers = [{"service": name, "id": f"{name}-1", "state": "ready", "beat_age_s": 1.0} for name in services]
    queues = [{"queue": "judge.j", "stage": "judge", "length": 3, "age_s": 5.0}]
    states = {**status["states"], "accepted": 5, "dispatched": 2, "done": 100}
    return {**status, "workers": workers, "queues": queues, "states": states}


def found(status: dict[str, Any], pool: Any = None) -> list[tuple[str | None, str, str]]:
    return [(one["alert"], one["severity"], one["summary"]) for one in problems(status, pool or make_pool("ab"))]


def endpoint(kind: str, name: str, calls: int, failed: int, **failures: int) -> dict[str, Any]:
    reasons = failures or ({"timeout": failed} if failed else {})
    return {"kind": kind, "name": name, "calls": calls, "failed": failed, "failures": reasons}


def test_every_condition_is_that_of_an_alert_with_a_runbook() -> None:
    known = alerts()
    assert len(known) > 15
    named = {one.alert for one in CONDITIONS if one.alert is not None}
    assert named <= set(known)
    assert all((DEPLOY / "runbooks" / f"{name}.md").is_file() for name in named)
    # A critical alert is critical here too, unless only some of its workers are missing.
    for one in CONDITIONS:
        assert one.alert in (None, "KarmaWorkersMissing") or known[one.alert] in ("warning", one.severity)


def test_a_stream_without_a_problem_has_none(healthy: dict[str, Any]) -> None:
    assert found(healthy) == []


def test_a_judge_that_is_kin_to_what_it_judges_is_named_with_what_to_do(healthy: dict[str, Any]) -> None:
    ((alert, severity, summary),) = found(healthy, make_pool("abj"))
    assert (alert, severity) == (None, "warning")
    assert summary == (
        "The judge j may favor its kin, which it judges: j (the judge's own model). Name a judge of another family, or "
        "watch its self-preference."
    )


def test_a_worker_with_other_settings_than_the_gateways_is_critical(healthy: dict[str, Any]) -> None:
    conflict = {"worker": "judging-1", "kind": "judge", "name": "j"}
    ((alert, severity, summary),) = found({**healthy, "conflicts": [conflict]})
    assert (alert, severity) == ("KarmaMessagesRefused", "critical")
    assert summary.startswith("The worker judging-1 has other settings of the judge j than the gateway asks for")


def test_a_judge_that_failed_all_its_calls_is_critical(healthy: dict[str, Any]) -> None:
    ((alert, severity, summary),) = found({**healthy, "endpoints": [endpoint("judge", "haste", 568, 568)]})
    assert (alert, severity) == ("KarmaJudgeErrorsHigh", "critical")
    assert summary == "568 of the last 568 calls of the judge haste failed; most frequent reason: timeout."


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (endpoint("model", "a", 100, 40), ("KarmaModelErrorsHigh", "warning")),
        (endpoint("model", "a", 100, 95), ("KarmaModelErrorsHigh", "critical")),
        (endpoint("judge", "j", 100, 40), ("KarmaJudgeErrorsHigh", "warning")),
        (endpoint("judge", "j", 100, 12), None),  # within chance of a tenth
        (endpoint("judge", "j", 19, 19), None),  # too few
        (endpoint("judge", "v", 100, 90, nothing_to_go_by=90), None),  # a verifier without references
    ],
)
def test_failures_are_a_problem_beyond_a_tenth_of_the_calls(
    healthy: dict[str, Any], one: dict[str, Any], expected: tuple[str, str] | None
) -> None:
    assert [problem[:2] for problem in found({**healthy, "endpoints": [one]})] == ([expected] if expected else [])


@pytest.mark.parametrize(("identical", "problem"), [(100, True), (81, False), (0, False)])
def test_samples_that_equal_the_first_are_a_problem_beyond_four_fifths(
    healthy: dict[str, Any], identical: int, problem: bool
) -> None:
    one = {**endpoint("model", "a", 200, 0), "samples": {"compared": 100, "identical": identical}}
    assert [problem[:2] for problem in found({**healthy, "endpoints": [one]})] == (
        [("KarmaSamplesIdentical", "warning")] if problem else []
    )


def test_missing_workers_are_named_while_there_is_work(healthy: dict[str, Any]) -> None:
    workers = [one for one in healthy["workers"] if one["service"] not in ("scoring", "judging")]
    ((alert, severity, summary),) = found({**healthy, "workers": workers})
    assert (alert, severity) == ("KarmaWorkersMissing", "critical")
    assert summary == "No worker of scoring, judging is ready, and 7 prompts are unfinished."
    finished = dict.fromkeys(healthy["states"], 0) | {"done": 100}
    assert found({**healthy, "workers": [], "states": finished}) == []


def test_an_expired_heartbeat_is_a_warning_while_another_worker_is_ready(healthy: dict[str, Any]) -> None:
    silent = {"service": "judging", "id": "judging-2", "state": "silent", "beat_age_s": 40.0}
    ((alert, severity, summary),) = found({**healthy, "workers": [*healthy["workers"], silent]})
    assert (alert, severity) == ("KarmaWorkersMissing", "warning")
    assert "judging-2 expired; the last was 40 s ago" in summary


def test_redis_that_does_not_answer_hides_no_other_problem(healthy: dict[str, Any]) -> None:
    away = {**healthy, "queues": [], "workers": [], "endpoints": [endpoint("model", "a", 50, 50)]}
    assert [problem[0] for problem in found(away)] == ["KarmaRedisTrouble", "KarmaModelErrorsHigh"]


def test_a_queue_is_stuck_when_it_is_old_and_its_stage_records_nothing(healthy: dict[str, Any]) -> None:
    old = {**healthy, "queues": [{"queue": "judge.j", "stage": "judge", "length": 3, "age_s": 900.0}]}
    ((alert, severity, summary),) = found(old)
    assert (alert, severity) == ("KarmaStageStuck", "critical")
    assert "judge.j is 15 min old" in summary
    assert found({**old, "rates": {**old["rates"], "verdicts_per_s": 2.0}}) == []


def test_flips_and_positions_are_tested_judge_by_judge(healthy: dict[str, Any]) -> None:
    judges = [
        {"judge": "fair", "both_orders": 400, "flipped": 20},
        {"judge": "coin", "both_orders": 400, "flipped": 180},
    ]
    positions = [
        {"judge": "fair", "share": 0.5, "n": 400},
        {"judge": "last", "share": 0.1, "n": 400},
        {"judge": "young", "share": 0.0, "n": 40},
    ]
    status = {**healthy, "quality": {**healthy["quality"], "judges": judges, "first_position": positions}}
    flips, position = found(status)
    assert flips[::2] == ("KarmaOrderFlipRateHigh", "Verdicts of coin depend on the order: 180 of 400 pairs flipped.")
    assert position[0] == "KarmaFirstPositionBias"
    assert "last prefers the second position in 90.0 % of 400 verdicts" in position[2]


def test_ties_dead_prompts_and_a_pause_are_warnings(healthy: dict[str, Any]) -> None:
    quality = {**healthy["quality"], "tie_share": 0.7, "window": 400}
    status = {**healthy, "quality": quality, "paused": ["*"], "states": {**healthy["states"], "dead": 1}}
    assert {(alert, severity) for alert, severity, _summary in found(status)} == {
        ("KarmaTieRateHigh", "warning"),
        ("KarmaPromptsDead", "warning"),
        (None, "warning"),
    }


def test_wrong_predicted_labels_are_held_to_the_streams_own_limit(healthy: dict[str, Any]) -> None:
    error = {"stream": "s", "estimate": 0.3, "low": 0.27, "high": 0.33, "audited": 900, "unjudged": 2000}
    status = {**healthy, "quality": {**healthy["quality"], "predicted_label_error": error}}
    ((alert, _severity, summary),) = found(status)
    assert (alert, summary) == ("KarmaLabelErrorHigh", "30.0 % of the predicted labels of s are wrong; limit 10.0 %.")
    assert found(status, make_pool("ab", streams={"s": {"judge_share": 0.5, "max_label_error": 0.28}})) == []
    unknown = {**healthy, "preferences": {"judge": 0, "predicted": 1001}}
    assert [problem[0] for problem in found(unknown)] == ["KarmaLabelErrorUnknown"]


def test_a_cost_that_leaves_somebody_out_is_named(healthy: dict[str, Any]) -> None:
    funnel = [{"stage": "responses", "of": 90}, {"stage": "verdicts", "of": 60}]
    outcome = {**healthy["outcome"], "cost": 1.0, "cost_excludes": ["j"], "cost_unknown_calls": 16}
    status = {**healthy, "funnel": funnel, "outcome": outcome}
    ((alert, _severity, summary),) = found(status)
    assert (alert, summary) == ("KarmaCostUnknown", "The cost leaves out 16 calls of j: no price or no token counts.")
    assert found({**status, "outcome": {**outcome, "cost_unknown_calls": 15}}) == []  # a tenth
    assert found({**status, "outcome": {**outcome, "cost": None}}) == []  # no prices at all


def test_critical_problems_come_first(healthy: dict[str, Any]) -> None:
    status = {**healthy, "paused": ["*"], "endpoints": [endpoint("judge", "j", 100, 100)]}
    assert [severity for _alert, severity, _summary in found(status)] == ["critical", "warning"]


def test_the_score_test_needs_four_standard_deviations() -> None:
    assert not exceeds(10 + 12, 100, 0.1)
    assert exceeds(10 + 12.1, 100, 0.1)
