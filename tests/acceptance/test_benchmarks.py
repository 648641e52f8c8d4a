"""The benchmarks of speed run at a tiny size, check what they measured, and write their figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import needs
from tests.support.pipeline import ROOT

pytestmark = pytest.mark.ci


def run(path: Path, name: str, *options: str) -> dict[str, Any]:
    """The figures of one repetition of a benchmark, by rival."""
    needs.linux()
    needs.redis()
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--repetitions", "1", "--json", str(path), *options]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "other CPU use" in done.stdout
    found: dict[str, Any] = json.loads(path.read_text())["repetitions"][0]["rivals"]
    return found


def test_karma_and_a_script_at_an_endpoint(tmp_path: Path) -> None:
    found = run(tmp_path / "out.json", "endpoint", "--sizes", "40", "--latency-ms", "5", "--trials", "1")
    assert set(found) == {"karma", "script"}
    for figures in found.values():
        assert figures["prompts_per_s_40"] > 1
        assert 0 < figures["judge_slots_40"] <= 1
        assert figures["memory_mb"] > 1
    assert found["karma"]["us_per_prompt_judging"] > 0
    assert 0 < found["karma"]["stored_s"] < found["karma"]["command_s"]


def test_the_cost_of_instant_models(tmp_path: Path) -> None:
    needs.postgresql()
    options = ("--prompts", "40", "--models", "2", "--batches", "8", "--databases", "postgresql")
    found = run(tmp_path / "out.json", "overhead", *options)["karma"]
    cost = {name: found[f"postgresql K=2 batch=8 us {name}"] for name in ("all", "workers", "enqueue", "postgresql")}
    assert cost["all"] > cost["workers"] + cost["enqueue"] + cost["postgresql"] > 0
    assert found["postgresql K=2 batch=8 prompts_per_s"] > 1


def test_costs_views_and_exports_of_a_store(tmp_path: Path) -> None:
    options = ("--most", "1000", "--window", "40", "--databases", "sqlite")
    found = run(tmp_path / "out.json", "scale", *options)["1,000"]
    assert found["sqlite prompts_per_s"] > 1
    assert found["sqlite store_bytes"] > found["sqlite text_bytes"] > 250
    assert found["sqlite ms /api/pairs"] > 0
    assert found["sqlite export_rows_per_s"] > 1


def test_two_workers_where_models_are_waited_for(tmp_path: Path) -> None:
    options = ("--counts", "2", "--stages", "judging", "--seconds", "2")
    found = run(tmp_path / "out.json", "workers", *options)["2"]
    assert 8 < found["judging per_s"] < 64  # 32, but the run is short
