"""Canaries through real processes, of which the scoring worker is killed again and again."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

from karma.seeds import seed_of
from karma.store import Store
from tests.support import needs
from tests.support.instant import POOL
from tests.support.pipeline import Pipeline, wait_until
from tests.support.verifier import assert_exact

PROMPTS = 200
SHARE = 0.2


def test_each_drawn_prompt_has_its_canary_once_although_scoring_is_killed(tmp_path: Path) -> None:
    needs.redis()
    karma = Pipeline(tmp_path / "home", f"{POOL}canary_share = {SHARE}\n", plugins="tests.support.instant")
    url = f"sqlite:///{karma.home / 'karma.db'}"
    expected = sum(seed_of("mine", f"p{n}", "canary") < SHARE * 2.0**63 for n in range(PROMPTS))
    assert expected > 20
    store = Store(url)

    def ended() -> int:
        with store.reading() as transaction:
            states = transaction.ledger.count_states()
        return states["done"] + states["dead"]

    with karma.up():
        karma.enqueue([{"id": f"p{n}", "prompt": f"Say {n}."} for n in range(PROMPTS)], "--stream", "mine")
        for reached in (20, 120):
            wait_until(lambda reached=reached: ended() >= reached, 60, f"{reached} prompts ended")
            for worker in karma.workers("scoring"):
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: ended() >= PROMPTS + expected, 90, "all prompts and canaries ended")
        assert_exact(url, PROMPTS + expected)
        status = karma.status()
        assert sum(status["preferences"].values()) == PROMPTS
        (judge,) = status["canaries"]
        assert judge["clean"] + judge["attacked"] == expected
        exported = karma.call("export", "jsonl", "-").stdout.splitlines()
        assert len(exported) == PROMPTS
        assert {json.loads(line)["karma"]["stream"] for line in exported} == {"mine"}
    store.close()
