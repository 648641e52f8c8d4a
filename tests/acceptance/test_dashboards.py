"""The dashboards: what is on disk is what the code builds, and no panel is empty over a real run."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import threading
from collections.abc import Iterator

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.dashboards import FOLDER, texts
from karma.queue.heartbeats import workers
from karma.queue.redis import connect
from tests.support import needs, prometheus
from tests.support.endpoint import Behaviour, serve
from tests.support.pipeline import ROOT, Pipeline, wait_until

BOARDS = {name: json.loads(text) for name, text in texts().items()}
PANELS = [
    (name, panel)
    for name, board in BOARDS.items()
    for row in board["panels"]
    for panel in ([row] if row["type"] != "row" else row.get("panels", []))
]
#: What Grafana puts in the place of the variables, with all values chosen.
VARIABLES = {
    "$__rate_interval": "2m",
    "$__range": "5m",
    "$stream": ".*",
    "$model": ".*",
    "$judge": ".*",
}

#: Absent while it is unknown, as it is after so few verdicts; the number of verdicts is there.
UNKNOWN = {"karma_judge_self_preference_ratio": "karma_judge_self_preference_verdicts"}

# Everything happens: failed and unpriced calls, refusals, ties, verdicts that cannot be read, a judge of its own model.
POOL = """
[models.red]
backend = "openai"
model = "red"
base_url = "{url}"
price = {{ input = 0.5, output = 1.5 }}

[models.blue]
backend = "openai"
model = "blue"
base_url = "{url}"
price = {{ input = 0.1, output = 0.3 }}

[models.insider]
backend = "openai"
model = "judge-fair"
base_url = "{url}"
price = {{ input = 1, output = 2 }}

[models.flaky]
backend = "openai"
model = "flaky"
base_url = "{url}"
max_retries = 0

[models.away]
backend = "openai"
model = "away"
base_url = "http://127.0.0.1:9/v1"
max_retries = 0

[judges.fair]
kind = "openai"

[judges.fair.model]
backend = "openai"
model = "judge-fair"
base_url = "{url}"
price = {{ input = 1, output = 2 }}

[judges.second]
kind = "openai"

[judges.second.model]
backend = "openai"
model = "judge-second"
base_url = "{url}"
price = {{ input = 1, output = 2 }}

[stream]
goal = "label"
models = ["flaky", "red", "insider"]
checker = "contains"

[streams.lame]
models = ["red", "away"]

[streams.budget]
judges = ["fair"]
models = ["red", "blue", "insider"]
responses_per_prompt = 3
pairs_per_prompt = 3
policy = "random"
judge_share = 0.5
audit_share = 0.3

[streams.cascade]
judges = ["fair", "second"]
models = ["red", "blue"]
orders = "one"
first_judge = "fair"
most_judge_doubt = 0.9
judge_audit_share = 0.5

[streams.limited]
judges = ["fair"]
models = ["red", "blue", "insider"]
judge_share = 0.5
max_label_error = 0.4
budget_usd = 50

[pipeline]
batch_items = 4
claim_silence_s = 2
"""
#: Prompts of each stream in the two parts of the run: a counter that is there all at once has no rate.
PARTS = (
    {"default": 30, "lame": 3, "budget": 160, "cascade": 180, "limited": 5},
    {"default": 20, "lame": 3, "budget": 40, "cascade": 60, "limited": 5},
)


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_the_file_is_what_the_code_builds(name: str) -> None:
    assert (FOLDER / name).read_text() == texts()[name], "write them again: python -m deploy.grafana.dashboards"


def test_there_is_no_file_without_code() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(BOARDS)


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_the_sdk_reads_a_dashboard_as_it_wrote_it(name: str) -> None:
    again = Dashboard.from_json(json.loads((FOLDER / name).read_text()))
    assert json.loads(json.dumps(again, cls=JSONEncoder)) == BOARDS[name]


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_a_dashboard_uses_the_variables_that_it_has(name: str) -> None:
    board = BOARDS[name]
    had = {one["name"] for one in board["templating"]["list"]}
    used = {one for one in ("datasource", "stream", "model", "judge") if f"${one}" in json.dumps(board["panels"])}
    assert had - {"datasource"} == used - {"datasource"}
    assert "datasource" in had


def test_every_panel_says_what_it_shows_and_in_what_unit() -> None:
    for name, panel in PANELS:
        where = f"{name}: {panel['title']}"
        assert panel["description"].endswith("."), where
        assert panel["fieldConfig"]["defaults"]["unit"], where
        assert panel["datasource"]["uid"] == "${datasource}", where
    assert len({(name, panel["title"]) for name, panel in PANELS}) == len(PANELS)


def test_grafana_is_told_where_the_dashboards_are() -> None:
    """The folder that is provisioned is the one that compose mounts."""
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    provider = yaml.safe_load((provisioning / "dashboards" / "karma.yml").read_text())["providers"][0]
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"][0]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounted = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"] if volume.startswith("./"))
    assert mounted["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prometheus.Prometheus]:
    """A Prometheus that scraped a run in which everything happened that a panel shows."""
    folder = tmp_path_factory.mktemp("dashboards")
    needs.prometheus()
    behaviour = Behaviour(latency_ms=10, rate_429=0.08, drop=0.01, unparsable=0.05, ties=0.1, position_bias=0.1, seed=3)
    with serve(behaviour) as endpoint:
        karma = Pipeline(folder / "home", POOL.format(url=endpoint.url))
        karma.environment["KARMA_PAGE_PORT"] = "0"
        targets = karma.home / "run" / "targets.json"
        rules = sorted(prometheus.RULES.glob("*.yml"))
        with karma.up(), prometheus.serve(folder / "prometheus", targets, rules, every_s=1.0) as found:
            found.wait_for_scrapes()
            endpoint.gate = threading.Event()
            enqueue(karma, 0)
            wait_until(lambda: endpoint.under_way > 4, 30, "calls are under way")
            kill(karma, "generation")
            endpoint.gate.set()
            wait_for_end(found, sum(PARTS[0].values()))
            wait_until(lambda: found.query("karma_outcome_calibration_error_ratio"), 60, "outcomes are foreseen")
            found.wait_for_scrapes()
            enqueue(karma, 1)
            wait_for_end(found, sum(PARTS[0].values()) + sum(PARTS[1].values()))
            wait_until(lambda: found.query("karma_label_error_ratio"), 60, "the labels are audited")
            audit_the_first_judge(karma, found)
            yield found


def enqueue(karma: Pipeline, part: int) -> None:
    for stream, count in PARTS[part].items():
        prompts = [{"id": f"{part}-{n}", "prompt": f"Tell me about {stream} {part}, {n}."} for n in range(count)]
        known = {"reference": "e"} if stream == "default" else {}  # so that responses have a quality
        karma.enqueue([prompt | known for prompt in prompts], "--stream", stream)


def audit_the_first_judge(karma: Pipeline, server: prometheus.Prometheus) -> None:
    """Enqueue until a refit after a rule shows the audit: which refit finds enough pairs depends on the machine."""
    count = sum(PARTS[0].values()) + sum(PARTS[1].values())
    for part in range(2, 12):
        if server.query("karma_first_judge_label_error_ratio"):
            return
        karma.enqueue([{"id": f"{part}-{n}", "prompt": f"Say {part}, {n}."} for n in range(20)], "--stream", "cascade")
        count += 20
        wait_for_end(server, count)
    wait_until(lambda: server.query("karma_first_judge_label_error_ratio"), 60, "the first judge is audited")


def wait_for_end(server: prometheus.Prometheus, count: int) -> None:
    """Wait until so many prompts have ended, as the gateway shows and as the workers that ended them do."""
    for ended in ('sum(karma_ledger_prompts{state=~"done|dead"})', "sum(karma_prompts_ended_total)"):
        wait_until(lambda e=ended: server.value(e) == count, 240, f"{count} prompts have ended: {ended}")


def kill(karma: Pipeline, service: str) -> None:
    """SIGKILL the worker of a service."""
    redis = connect((karma.home / "run" / "redis.url").read_text())
    os.kill(next(one.pid for one in workers(redis) if one.service == service), signal.SIGKILL)


def is_empty(server: prometheus.Prometheus, expression: str) -> bool:
    for name, value in (VARIABLES | UNKNOWN).items():
        expression = expression.replace(name, value)
    assert re.search(r"\$[a-z_]", expression) is None
    return not any(math.isfinite(one.value) for one in server.query(expression))


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_no_panel_is_empty(server: prometheus.Prometheus, name: str) -> None:
    asked = [
        (panel["title"], target["expr"]) for board, panel in PANELS if board == name for target in panel["targets"]
    ]
    assert len(asked) >= 10
    assert [one for one in asked if is_empty(server, one[1])] == []


def test_a_panel_that_is_empty_is_found(server: prometheus.Prometheus) -> None:
    assert is_empty(server, 'sum(rate(karma_prompts_forgotten_total{stream=~"$stream"}[$__rate_interval]))')
    assert is_empty(server, "vector(0) / 0")


def test_the_variables_are_filled_from_series_that_exist(server: prometheus.Prometheus) -> None:
    wanted = {
        "stream": {"default", "budget", "cascade", "lame", "limited"},
        "model": {"red", "blue", "insider", "flaky", "away"},
        "judge": {"fair", "second"},
    }
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            if variable["name"] in wanted:
                metric, label = variable["query"].removeprefix("label_values(").removesuffix(")").split(", ")
                assert {one.labels[label] for one in server.query(metric)} == wanted[variable["name"]]
