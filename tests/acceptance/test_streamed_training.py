"""DPO on a store that grows meanwhile: killed, it goes on from its checkpoint, and no preference is read twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from karma.data.checkpoints import CURSOR_FILE, newest_checkpoint
from karma.store import Store
from tests.support.memory import Flow, make_pool
from tests.support.pipeline import wait_until
from tests.support.stores import sqlite_file
from tests.support.streamed_training import BATCH, SAVE_STEPS

STEPS = int(os.environ.get("KARMA_TEST_TRAINING_STEPS", "40"))
PROMPTS_PER_S = float(os.environ.get("KARMA_TEST_TRAINING_PROMPTS_PER_S", "20"))


class Feed:
    """Adds prompts at a steady rate, in a thread, and has them judged at once."""

    def __init__(self, url: str) -> None:
        self._flow = Flow(Store(url), make_pool("ab"))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.added = 0

    def _run(self) -> None:
        while not self._stop.wait(1.0 / PROMPTS_PER_S):
            self._flow.accept({"id": f"p{self.added}", "prompt": f"prompt {self.added}"})
            self._flow.finish()
            self.added += 1

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(30)
        self._flow.store.close()


def start(url: str, folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.streamed_training", url, str(folder), str(STEPS), *more]
    return subprocess.Popen(
        command, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


def read_by(process: subprocess.Popen[str], folder: Path) -> list[str]:
    return [json.loads(line) for line in (folder / f"read-{process.pid}.jsonl").read_text().splitlines()]


@pytest.mark.ci
@pytest.mark.timeout(300 + 3 * STEPS)
def test_a_killed_training_goes_on_from_its_checkpoint_without_a_repeat(tmp_path: Path) -> None:
    url = sqlite_file(tmp_path / "karma.db")
    with Feed(url) as feed:
        first = start(url, tmp_path)
        saved = tmp_path / "dpo" / f"checkpoint-{SAVE_STEPS * 2}" / CURSOR_FILE
        wait_until(lambda: saved.exists() or first.poll() is not None, 200, "two checkpoints are saved")
        first.send_signal(signal.SIGKILL)
        first.wait(10)
        newest = newest_checkpoint(tmp_path / "dpo")
        assert newest is not None
        saved_steps = int(newest.rpartition("-")[2])
        before = read_by(first, tmp_path)
        second = start(url, tmp_path, "--resume")
        said, _error = second.communicate(timeout=100 + 2 * STEPS)
        after = read_by(second, tmp_path)
    assert json.loads(said.splitlines()[-1]) == {"steps": STEPS}
    trained = before[: saved_steps * BATCH] + after[: (STEPS - saved_steps) * BATCH]
    assert len(trained) == len(set(trained)) == STEPS * BATCH
    assert set(trained) == {f"prompt {n}" for n in range(STEPS * BATCH)}
    assert feed.added >= STEPS * BATCH
