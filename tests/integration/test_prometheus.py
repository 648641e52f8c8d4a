"""A real Prometheus scrapes the workers of a run, and agrees with the store."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.instant import POOL
from tests.support.pipeline import Pipeline, wait_until

PROMPTS = 200


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(tmp_path / "home", POOL, plugins="tests.support.instant")
    with made.up():
        yield made


@pytest.fixture
def query(pipeline: Pipeline, tmp_path: Path) -> Iterator[Callable[[str], float]]:
    """The value of an expression in a Prometheus that scrapes the pipeline's own target list."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no Prometheus on the PATH; Debian's package `prometheus` has it")
    config = tmp_path / "prometheus.yml"
    targets = pipeline.home / "run" / "targets.json"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: karma, file_sd_configs: [{{files: ['{targets}'], refresh_interval: 1s}}]}}]\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )

    def ask(expression: str) -> float:
        url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(expression)}"
        try:
            result = json.load(urllib.request.urlopen(url, timeout=5))["data"]["result"]
        except OSError:
            return float("nan")
        return sum(float(one["value"][1]) for one in result)

    try:
        wait_until(lambda: ask("count(up == 1)") == 5, 40, "Prometheus sees five workers")
        yield ask
    finally:
        server.terminate()
        server.wait(20)


def test_prometheus_and_the_store_agree_after_a_run(pipeline: Pipeline, query: Callable[[str], float]) -> None:
    pipeline.enqueue([{"prompt": f"p{n}"} for n in range(PROMPTS)])
    status = pipeline.wait_for_end(PROMPTS)
    expected = {
        'karma_prompts{state="done"}': PROMPTS,
        "sum(karma_prompts_dispatched_total)": PROMPTS,
        'sum(karma_responses_total{result="answered"})': 2 * PROMPTS,
        'sum(karma_verdicts_total{result="valid"})': 2 * PROMPTS,
        "sum(karma_pairs_formed_total)": PROMPTS,
        'karma_resolutions{outcome="decisive"}': status["resolutions"]["decisive"],
        'sum(karma_pairs_resolved_total{outcome="decisive"})': status["resolutions"]["decisive"],
        "sum(karma_pair_information_bits_count)": PROMPTS,
        "sum(karma_preference_probability_ratio_count)": status["preferences"]["judge"],
        "sum(karma_pairs_judged_both_orders_total)": PROMPTS,
        "sum(karma_preferences_by_length_total)": status["preferences"]["judge"],
        "sum(karma_verdicts_first_position_total)": 2 * PROMPTS,
    }
    for expression, value in expected.items():
        wait_until(
            lambda e=expression, v=value: query(e) == v, 20, f"{expression} is {value}, it is {query(expression)}"
        )
