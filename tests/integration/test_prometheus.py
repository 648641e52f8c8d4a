"""A real Prometheus scrapes the workers of a run and agrees with the store; what they serve is as it should be."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.instant import POOL
from tests.support.pipeline import Pipeline, wait_until
from tests.support.prometheus import Prometheus, serve

PROMPTS = 200


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A run in which all prompts have ended."""
    made = Pipeline(tmp_path_factory.mktemp("run") / "home", POOL, plugins="tests.support.instant")
    with made.up():
        made.enqueue([{"prompt": f"p{n}"} for n in range(PROMPTS)])
        made.wait_for_end(PROMPTS)
        yield made


@pytest.fixture
def prometheus(pipeline: Pipeline, tmp_path: Path) -> Iterator[Prometheus]:
    needs.prometheus()
    with serve(tmp_path / "prometheus", pipeline.home / "run" / "targets.json") as server:
        wait_until(lambda: server.value("count(up == 1)") >= 5, 40, "Prometheus sees five workers")
        yield server


def test_prometheus_and_the_store_agree_after_a_run(pipeline: Pipeline, prometheus: Prometheus) -> None:
    status = pipeline.status()
    expected = {
        'karma_ledger_prompts{state="done"}': PROMPTS,
        "sum(karma_prompts_dispatched_total)": PROMPTS,
        "sum(karma_prompts_ended_total)": PROMPTS,
        'sum(karma_responses_total{result="answered"})': 2 * PROMPTS,
        'sum(karma_verdicts_total{result="valid"})': 2 * PROMPTS,
        "sum(karma_pairs_formed_total)": PROMPTS,
        'karma_ledger_resolutions{outcome="decisive"}': status["resolutions"]["decisive"],
        'sum(karma_pairs_resolved_total{outcome="decisive"})': status["resolutions"]["decisive"],
        "sum(karma_pair_information_ratio_count)": PROMPTS,
        "sum(karma_preference_probability_ratio_count)": status["preferences"]["judge"],
        'sum(karma_preferences_total{source="judge"})': status["preferences"]["judge"],
        "sum(karma_pairs_judged_both_orders_total)": PROMPTS,
        "sum(karma_preferences_by_length_total)": status["preferences"]["judge"],
        "sum(karma_verdicts_first_position_total)": 2 * PROMPTS,
        "sum(karma_competency_comparisons)": 2 * PROMPTS,
        "sum(karma_queue_length)": 0,
        "sum(karma_workers)": len(status["workers"]),
        "sum(karma_server_up)": 2,
    }
    for expression, value in expected.items():
        wait_until(
            lambda e=expression, v=value: prometheus.value(e) == pytest.approx(v),
            30,
            f"{expression} is {value}, it is {prometheus.value(expression)}",
        )


def test_promtool_finds_nothing_wrong_with_what_the_workers_of_a_run_serve(pipeline: Pipeline) -> None:
    promtool = needs.promtool()
    targets = json.loads((pipeline.home / "run" / "targets.json").read_text())
    assert {one["labels"]["service"] for one in targets} >= {"gateway", "generation", "scoring", "matching", "judging"}
    for one in targets:
        text = urllib.request.urlopen(f"http://{one['targets'][0]}/metrics", timeout=10).read()
        assert b"karma_build_info" in text
        checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b""), one
