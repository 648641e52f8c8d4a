"""The shipped rules: promtool reads and tests them, and alerts, runbooks and unit tests go together."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from karma.telemetry import cascade_metrics, metrics
from tests.benchmarks import false_alarms
from tests.support import needs
from tests.support.pipeline import ROOT
from tests.support.prometheus import RULES

FOLDER = ROOT / "deploy" / "prometheus"
RUNBOOKS = ROOT / "deploy" / "runbooks"
TESTS = sorted((FOLDER / "tests").glob("*.yml"))


def rules() -> list[dict[str, Any]]:
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def promtool(*arguments: object) -> None:
    done = subprocess.run([needs.promtool(), *map(str, arguments)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_no_fault_in_the_rules() -> None:
    promtool("check", "rules", *sorted(RULES.glob("*.yml")))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_every_alert_fires_when_it_should_and_not_in_a_healthy_series(path: Path) -> None:
    promtool("test", "rules", path)


@pytest.mark.parametrize("name", ["prometheus.yml", "local.yml"])
def test_promtool_finds_no_fault_in_the_configuration(name: str) -> None:
    promtool("check", "config", FOLDER / name)


def test_a_rule_that_is_wrong_is_found(tmp_path: Path) -> None:
    """The tests above can fail: a limit that nothing reaches makes promtool say which alert did not come."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "tests").mkdir()
    for path in RULES.glob("*.yml"):
        text = path.read_text()
        (tmp_path / "rules" / path.name).write_text(text.replace("karma:length_excess:cusum > 20", "vector(0) > 1"))
    shipped = yaml.safe_load((FOLDER / "tests" / "quality.yml").read_text())
    changed = tmp_path / "tests" / "quality.yml"
    changed.write_text(yaml.safe_dump({**shipped, "tests": shipped["tests"][:1]}))
    with pytest.raises(AssertionError, match="KarmaLongerWinsRising"):
        promtool("test", "rules", changed)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_says_what_is_wrong_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert re.fullmatch(r"Karma([A-Z][a-z]+)+", name)
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"{{{{ $externalLabels.runbooks }}}}/{name}.md"


def test_alerts_and_runbooks_go_together() -> None:
    assert sorted(ALERTS) == sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README")
    for name in ALERTS:
        text = (RUNBOOKS / f"{name}.md").read_text()
        assert text.startswith(f"# {name}\n")
        found = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert found == ["Meaning", "Impact", "Diagnosis", "Mitigation"], name
        assert name in (RUNBOOKS / "README.md").read_text()
        assert name in (ROOT / "docs" / "monitoring.md").read_text()


def test_alerts_and_unit_tests_go_together() -> None:
    fires, silent = set(), set()
    for path in TESTS:
        for one in yaml.safe_load(path.read_text())["tests"]:
            for expected in one["alert_rule_test"]:
                (fires if expected["exp_alerts"] else silent).add(expected["alertname"])
    assert fires == silent == set(ALERTS)


def test_rules_runbooks_and_configuration_name_only_metrics_that_exist() -> None:
    known = {"karma_" + one for one in _exposed()}
    texts = [path.read_text() for folder in (FOLDER, RUNBOOKS) for path in folder.rglob("*.*")]
    texts.append((ROOT / "docs" / "monitoring.md").read_text())
    named = {name for text in texts for name in re.findall(r"(?<![\w./:])karma_[a-z_]+", text)}
    named = {re.sub(r"_(bucket|count|sum)$", "", name) for name in named}
    modules = {  # names of packages
        "karma_cli",
        "karma_monitor",
        "karma_demo",
        "karma_gateway",
        "karma_generation",
        "karma_scoring",
        "karma_matching",
        "karma_judging",
    }
    assert named - known - modules == set()


def _exposed() -> set[str]:
    """Names as Prometheus sees them, without their prefix."""
    found = set()
    for one in (*vars(metrics).values(), *vars(cascade_metrics).values()):
        kind, name = getattr(one, "_type", None), getattr(one, "_name", "")
        if kind is not None and name.startswith("karma_"):
            found.add(name.removeprefix("karma_") + ("_total" if kind == "counter" else ""))
    return found


def test_the_figures_of_the_false_alarms_are_those_of_the_rules() -> None:
    text = (RULES / "quality.yml").read_text()
    for part in (
        f"karma:length_excess:cusum > {false_alarms.THRESHOLD:g}",
        f"* ({false_alarms.ALLOWANCE:g} + karma:length_excess:usual)",
        f"last_over_time(karma:length_excess:cusum[1d]) > 0 <= {false_alarms.THRESHOLD:g}\n",
        f"exp(-karma:length_pairs:new / {false_alarms.MEMORY:g})",
        f"(last_over_time(karma:length_pairs:remembered[1d]) >= {false_alarms.WARM_UP:g})",
        f"0, {false_alarms.MOST:g}\n",
        f"> {false_alarms.DEVIATIONS:g} * sqrt(",
        f"max(karma_outcome_calibration_error_ratio) > {false_alarms.CALIBRATION_LIMIT:g}",
    ):
        assert part in text, part


def test_under_an_honest_judge_the_alert_on_length_is_not_wrong_once_in_four_million_preferences() -> None:
    import numpy as np

    assert false_alarms.false_alarms(0.5, 400, 10_000, np.random.default_rng(1)) == 0
