"""The pipeline on real answers: 480 prompts, 24 real models, recorded verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from karma_demo.scenario import spearman
from tests.support import needs
from tests.support.pipeline import Pipeline, wait_until

PAIRS_PER_PROMPT = 10
POOL = f"""
[stream]
goal = "label"
policy = "all-pairs"
pairs_per_prompt = {PAIRS_PER_PROMPT}
[judges.recorded]
kind = "recorded"
both_orders = false
"""


def prompts(folder: Path) -> list[dict]:
    """The prompts with the answers of all models as given responses, and their source as the skill.

    Ten or so answers are blank; they are given as they are, and end as failures with a reason.
    """
    import pyarrow.parquet as pq

    answers: dict[str, dict[str, str]] = {}
    for row in pq.read_table(folder / "responses_open.parquet", columns=["prompt_id", "model", "output"]).to_pylist():
        answers.setdefault(row["prompt_id"], {})[row["model"]] = row["output"].replace("\x00", "")
    return [
        {
            "id": row["prompt_id"],
            "prompt": row["prompt"],
            "skill": row["source_dataset"],
            "responses": answers[row["prompt_id"]],
        }
        for row in pq.read_table(folder / "prompts_open.parquet").to_pylist()
    ]


@pytest.mark.ci
def test_the_learned_ranking_of_real_models_is_the_true_one(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    folder = needs.answers()
    karma = Pipeline(tmp_path, POOL, plugins="tests.support.recorded")
    karma.environment["KARMA_BENCH_DATA"] = str(folder)
    asked = prompts(folder)
    with karma.up():
        assert karma.enqueue(asked)["accepted"] == len(asked) == 480
        status = karma.wait_for_end(len(asked), 200)
        assert status["prompts"]["done"] == 480
        judged = sum(status["resolutions"].values()) - status["resolutions"]["no_pair"]
        assert judged == 480 * PAIRS_PER_PROMPT
        learned: dict = {}

        def settled() -> bool:
            before = dict(learned)
            learned.update(json.loads(karma.call("models", "--json").stdout))
            return before.get("version") == learned["version"]

        wait_until(settled, 30, "no newer competencies come", every_s=1.0)
    table = pq.read_table(folder / "models_open.parquet", columns=["model", "win_rate"]).to_pydict()
    means = [learned["models"][model]["overall"]["mean"] for model in table["model"]]
    correlation = spearman(means, table["win_rate"])
    print(f"Spearman {correlation:.3f} over {len(means)} models, {judged} pairs, {status['resolutions']}")
    assert np.isfinite(means).all()
    assert correlation >= 0.95
