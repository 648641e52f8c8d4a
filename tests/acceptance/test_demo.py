"""`karma demo` as a newcomer runs it, but with fewer prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.pipeline import Pipeline

needs.package("torch")

PROMPTS = 150


@pytest.mark.ci
@pytest.mark.timeout(300)
def test_the_demo_says_what_its_labels_cost_and_how_many_are_right(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, "")
    home = ("--home", str(tmp_path), "--prompts", str(PROMPTS))
    first = karma.run("demo", *home)

    data = json.loads(karma.run("demo", *home, "--json").stdout)  # nothing is doubled
    outcomes, labels = data["resolutions"], data["labels"]
    assert sum(outcomes.values()) >= PROMPTS
    assert sum(labels.values()) == outcomes["decisive"]
    assert data["preferences"] == outcomes["decisive"] - data["unsure_labels"]
    assert data["judge_calls_of_all_pairs"] == sum(outcomes.values()) - outcomes["no_pair"]
    assert labels["judge"] <= data["judge_calls"] <= data["judge_calls_of_all_pairs"]
    said = f"judge calls: {data['judge_calls']}; to judge each of the {data['judge_calls_of_all_pairs']} pairs once"
    assert said in first.stdout
    assert f"labels: {labels['judge']} judged, {labels['predicted']} predicted" in first.stdout
    assert data["judge_accuracy"] > 0.8
    assert len((tmp_path / "demo" / "preferences.jsonl").read_text().splitlines()) == data["preferences"]
