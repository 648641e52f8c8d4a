"""The pages on feeding, training and operating, run as their reader would, in folders with the files that they name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from karma.data.checkpoints import CURSOR_FILE
from karma.store import Store
from karma_demo.family import checkpoint_path
from tests.support import code_blocks, needs
from tests.support.instant import POOL
from tests.support.memory import Flow, make_pool
from tests.support.redis_server import Redis

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.prefix) / "bin"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("KARMA_")},
    "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
    "KARMA_PLUGINS": "tests.support.instant",
    "HF_HUB_OFFLINE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "COLUMNS": "200",
}

#: Commands that go on until they are stopped → how the ids of the prompts begin that they are to take.
FOLLOWED = {"karma enqueue requests.jsonl --follow": "requests.jsonl", "karma enqueue redis:prompts --follow": "redis"}
#: Waits until both prompts whose ids begin so are accepted.
AWAIT = """
import sqlite3, sys
from tests.support.pipeline import wait_until
store = sqlite3.connect("file:.karma/karma.db?mode=ro", uri=True)
counted = "SELECT COUNT(*) FROM prompts WHERE prompt_id LIKE ?"
wait_until(lambda: store.execute(counted, [sys.argv[1] + "-%"]).fetchone()[0] == 2, 60, "both are accepted")
"""


def prompts(count: int, name: str = "p") -> list[dict[str, Any]]:
    return [{"id": f"{name}-{number}", "prompt": f"{name}: what is {number} + 30?"} for number in range(count)]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def run(page: str, folder: Path, replaced: dict[str, str], **variables: str) -> str:
    """What the commands of a page print; nothing of it runs on."""
    try:
        return code_blocks.run(ROOT / page, folder, folder, ENVIRONMENT | variables, 240, replaced)
    finally:
        subprocess.run([str(PROGRAMS / "karma"), "down"], cwd=folder, env=ENVIRONMENT, check=False, capture_output=True)


def labelled(folder: Path, count: int) -> None:
    """A store as `karma up` leaves it: a preference for each of so many prompts."""
    (folder / ".karma").mkdir()
    store = Store(f"sqlite:///{folder}/.karma/karma.db")
    store.create()
    flow = Flow(store, make_pool("ab"))
    flow.accept(*prompts(count))
    flow.finish()
    store.close()


@pytest.mark.ci
def test_the_commands_of_the_readme_work_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text(POOL + '[judges.better]\nkind = "instant"\n')
    write_lines(tmp_path / "prompts.jsonl", prompts(30))
    said = run(
        "README.md",
        tmp_path,
        {"karma up  ": "karma up --detach  ", "prompts.jsonl  ": "prompts.jsonl --wait  ", "watch  ": "watch --once  "},
    )
    assert "30 accepted, 0 already present, 0 refused" in said
    assert re.search(r"Pair 17:", said), said
    assert (tmp_path / "report.html").stat().st_size > 100_000
    assert len((tmp_path / "preferences.jsonl").read_text().splitlines()) == 30


@pytest.mark.ci
def test_each_source_of_the_page_on_feeding_is_read(tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text('[judges.gpt4]\nkind = "given"\n' + POOL)
    for name in ("prompts.jsonl", "requests.jsonl", "big.jsonl"):
        write_lines(tmp_path / name, prompts(2, name))
    subprocess.run(["gzip", "big.jsonl"], cwd=tmp_path, check=True)
    (tmp_path / "more.csv").write_text("prompt,topic\nWhat is 1 + 1?,sums\n")
    for part in range(2):
        write_parquet(tmp_path / "data" / f"train-{part}.parquet", prompts(2, f"data-{part}"))
    write_parquet(tmp_path / "org" / "name" / "data" / "train_prefs-00000-of-00001.parquet", prompts(2, "hub"))
    answers = [
        {"model": model, "response": f"Ask {model}.", "annotations": {"honesty": {"Rating": rating}}}
        for model, rating in (("a", "5"), ("b", "1"))
    ]
    write_parquet(tmp_path / "ultrafeedback.parquet", [{"instruction": "Whom?", "completions": answers}])
    (tmp_path / "await.py").write_text(AWAIT)
    redis = Redis(tmp_path / "redis")
    redis.start()
    try:
        for row in prompts(2, "redis"):
            redis.client.xadd("prompts", {"json": json.dumps(row)})
        said = run(
            "docs/feeding.md",
            tmp_path,
            {command: f"{command} &\npython await.py {name}\nkill $!; wait $!" for command, name in FOLLOWED.items()},
            KARMA_SOURCE_REDIS_URL=redis.url,
        )
    finally:
        redis.kill()
    read = [tuple(map(int, counts)) for counts in re.findall(r"(\d+) accepted, (\d+) already present, 0 refused", said)]
    assert read == [(3, 0), (4, 0), (0, 4), (2, 0), (2, 0), (2, 0), (2, 0), (1, 0)], said
    assert "UltraFeedback" in said


@pytest.mark.ci
def test_what_people_judge_and_the_logs_are_read_as_the_page_on_operating_says(tmp_path: Path) -> None:
    needs.program("jq", "jq")
    (tmp_path / "pool.toml").write_text(POOL)
    write_lines(tmp_path / "prompts.jsonl", prompts(5))
    karma = [str(PROGRAMS / "karma")]
    for command in (["up", "--detach"], ["enqueue", "prompts.jsonl", "--wait"], ["down"]):
        subprocess.run([*karma, *command], cwd=tmp_path, env=ENVIRONMENT, check=True, timeout=60)
    (tmp_path / ".karma" / "logs" / "matching.log").open("a").write(
        json.dumps({"level": "error", "timestamp": "now", "service": "matching", "event": "odd", "pairs": [123]}) + "\n"
    )
    said = run("docs/operating.md", tmp_path, {})
    assert '"pairs":[123]' in said
    assert "now\tmatching\todd" in said
    tasks = (tmp_path / "tasks.jsonl").read_text()
    assert tasks.count('"verdict": ""') == 5
    (tmp_path / "tasks.jsonl").write_text(tasks.replace('"verdict": ""', '"verdict": "first"'))
    recorded = [*karma, "verdicts", "default", "tasks.jsonl", "--judge", "anna"]
    done = subprocess.run(recorded, cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    assert "5 " in done.stdout + done.stderr


def python_of(page: str, folder: Path, before: str, after: str, replaced: dict[str, str]) -> str:
    """What the Python of a page prints, but what it saves under a name, between two pieces of a test's own."""
    texts = [block.text for block in code_blocks.blocks(ROOT / page) if block.language == "python" and not block.file]
    code = code_blocks.replace("\n".join(texts), replaced)
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{code}\n{after}"],
        check=False,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.ci
def test_a_trainer_reads_a_store_as_the_page_on_training_data_says(tmp_path: Path) -> None:
    labelled(tmp_path, 40)
    python_of(
        "docs/training_data.md",
        tmp_path,
        f"MODEL = {str(checkpoint_path('novice'))!r}",
        "",
        {"max_steps=2000, save_steps=100": "use_cpu=True, bf16=False, max_steps=2, save_steps=1"},
    )
    assert (tmp_path / "dpo" / "checkpoint-2" / CURSOR_FILE).is_file()


@pytest.mark.ci
def test_probabilities_are_used_as_the_page_on_operating_says(tmp_path: Path) -> None:
    labelled(tmp_path, 40)
    exported = [str(PROGRAMS / "karma"), "export", "trl-dpo", "preferences.jsonl"]
    subprocess.run(exported, cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True)
    rows = [json.loads(line) for line in (tmp_path / "preferences.jsonl").read_text().splitlines()]
    for row in rows[10:]:
        assert row["karma"]["probability"] == 0.9
        row["karma"]["probability"] = 0.6
    write_lines(tmp_path / "preferences.jsonl", rows)
    said = python_of(
        "docs/operating.md",
        tmp_path,
        "",
        "print(len(rows), len(sure), round(doubt, 6), config.label_smoothing == doubt, len(drawn))",
        {"loss_type=": "use_cpu=True, bf16=False, loss_type="},
    )
    assert said.splitlines()[-1] == "40 10 0.325 True 40", said
