"""Prompts that kill their worker every time: they end by themselves, and harm nothing else."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tests.support.pipeline import Pipeline
from tests.support.poison import WORDS
from tests.support.verifier import assert_exact

HEALTHY = 100
#: Poisoned prompts per service.
POISONED = 1
ATTEMPTS = 2

POOL = f"""
[pipeline]
claim_silence_s = 3
publish_grace_s = 2
batch_items = 8
max_attempts = {ATTEMPTS}
[stream]
goal = "label"
policy = "poisoned"
checker = "poisoned"
[models.a]
backend = "poisoned"
model = "a"
options = {{ latency_s = 0.2, sensitive = true }}
[models.b]
backend = "poisoned"
model = "b"
options = {{ latency_s = 0.2 }}
[judges.j]
kind = "poisoned"
options = {{ latency_s = 0.2 }}
"""


class Outcome:
    """What the ledger says after the run, and how often each service died."""

    def __init__(self, database: Path, deaths: Counter[str]) -> None:
        self._database = database
        self.deaths = deaths

    def rows(self, query: str) -> list[tuple]:
        with sqlite3.connect(self._database) as connection:
            return connection.execute(query).fetchall()


def prompts() -> list[dict]:
    """Poison spread among the healthy; every prompt has a reference, so that scoring checks each answer."""
    made = [{"id": f"healthy-{n}", "prompt": f"Say {n}.", "reference": "a"} for n in range(HEALTHY)]
    for place, service in enumerate(list(WORDS) * POISONED):
        poisoned = {"id": f"{service}-{place}", "prompt": f"What is {WORDS[service]}?", "reference": "a"}
        made.insert((place + 1) * len(made) // 10, poisoned)
    return made


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    home = tmp_path_factory.mktemp("poison")
    karma = Pipeline(home, POOL, plugins="tests.support.poison")
    log = home / "deaths"
    log.touch()
    karma.environment["KARMA_TEST_POISON_LOG"] = str(log)
    karma.environment["PYTHONPATH"] += f":{_package_with_the_checker(home)}"
    asked = prompts()
    with karma.up():
        karma.enqueue(asked)
        karma.wait_for_end(len(asked), 110)
    assert_exact(f"sqlite:///{home / 'karma.db'}", len(asked))
    return Outcome(home / "karma.db", Counter(log.read_text().split()))


def _package_with_the_checker(folder: Path) -> Path:
    """A folder that holds an installed package's metadata: checkers are found by entry points."""
    metadata = folder / "site" / "poisoned_checker-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: poisoned-checker\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[karma.checkers]\npoisoned = tests.support.poison:check\n")
    return metadata.parent


def test_the_healthy_are_done_and_lost_neither_an_answer_nor_a_verdict(outcome: Outcome) -> None:
    """They shared batches and processes with what was killed, three times over."""
    healthy = "prompt IN (SELECT id FROM prompts WHERE prompt_id LIKE 'healthy-%')"
    assert outcome.rows(
        "SELECT state, no_pair, count(*) FROM prompts WHERE prompt_id LIKE 'healthy-%' GROUP BY state, no_pair"
    ) == [("done", None, HEALTHY)]
    assert outcome.rows(f"SELECT failure, count(*) FROM responses WHERE {healthy} GROUP BY failure") == [
        (None, 2 * HEALTHY)
    ]
    assert outcome.rows(f"SELECT outcome, count(*) FROM resolutions WHERE {healthy} GROUP BY outcome") == [
        ("decisive", HEALTHY)
    ]
    verdicts = f"SELECT v.failure, count(*) FROM verdicts v JOIN pairs ON pairs.id = v.pair WHERE {healthy} GROUP BY 1"
    assert outcome.rows(verdicts) == [(None, 2 * HEALTHY)]


def test_what_kills_generation_ends_as_a_failed_response_that_names_the_attempts(outcome: Outcome) -> None:
    """A model's failure is data: the prompt is done without a pair, and the other model's answer is kept."""
    ended = outcome.rows("SELECT state, no_pair FROM prompts WHERE prompt_id LIKE 'generation-%'")
    assert ended == [("done", "fewer than two usable answers")] * POISONED
    responses = outcome.rows(
        "SELECT model, text IS NOT NULL, failure FROM responses JOIN prompts p ON p.id = prompt "
        "WHERE prompt_id LIKE 'generation-%' ORDER BY model"
    )
    failed = ("a", 0, f"given up after {ATTEMPTS} attempts: the worker's heartbeat expired")
    assert responses == [failed] * POISONED + [("b", 1, None)] * POISONED


def test_what_kills_judging_ends_as_an_unscored_pair_that_names_the_attempts(outcome: Outcome) -> None:
    """Never a zero and never a tie."""
    reason = f"given up after {ATTEMPTS} attempts: the worker's heartbeat expired"
    ended = outcome.rows(
        "SELECT state, error, outcome, chosen, r.reason FROM prompts p JOIN resolutions r ON r.prompt = p.id "
        "WHERE prompt_id LIKE 'judging-%'"
    )
    assert ended == [("done", None, "unscored", None, reason)] * POISONED
    verdicts = outcome.rows(
        "SELECT v.probability, v.failure FROM verdicts v JOIN pairs ON pairs.id = v.pair "
        "JOIN prompts p ON p.id = prompt WHERE prompt_id LIKE 'judging-%'"
    )
    assert verdicts == [(None, reason)] * 2 * POISONED


def test_what_kills_scoring_ends_dead_with_the_last_error(outcome: Outcome) -> None:
    """Its answer was paid for and cannot be recorded: that is the pipeline's own failure."""
    ended = outcome.rows("SELECT state, error, no_pair FROM prompts WHERE prompt_id LIKE 'scoring-%'")
    error = f"recording was given up after {ATTEMPTS} attempts: the worker's heartbeat expired"
    assert ended == [("dead", error, None)] * POISONED
    items = outcome.rows(
        "SELECT target, result_attempts, w.batch FROM work_items w JOIN prompts p ON p.id = prompt "
        "WHERE prompt_id LIKE 'scoring-%'"
    )
    assert items.count(("a", ATTEMPTS, "")) == POISONED, "it is in no batch"
    # The other answer is recorded, unless it came only after the prompt had died.
    assert set(items) <= {("a", ATTEMPTS, ""), ("b", 0, "")}


def test_what_kills_matching_ends_dead_with_the_last_error(outcome: Outcome) -> None:
    """Its answers are kept: only the pair was never formed."""
    ended = outcome.rows("SELECT state, error, no_pair FROM prompts WHERE prompt_id LIKE 'matching-%'")
    error = f"given up after {ATTEMPTS} attempts: the worker's heartbeat expired"
    assert ended == [("dead", error, None)] * POISONED
    items = outcome.rows(
        "SELECT attempts, w.batch FROM work_items w JOIN prompts p ON p.id = prompt WHERE prompt_id LIKE 'matching-%'"
    )
    assert items == [(ATTEMPTS, "")] * POISONED
    responses = outcome.rows(
        "SELECT count(text), count(failure) FROM responses JOIN prompts p ON p.id = prompt "
        "WHERE prompt_id LIKE 'matching-%'"
    )
    assert responses == [(2 * POISONED, 0)]


def test_no_service_died_more_often_than_its_poison_has_attempts(outcome: Outcome) -> None:
    """A poisoned prompt is one answer, or one pair in two orders."""
    items = {"generation": 1, "scoring": 1, "matching": 1, "judging": 2}
    assert set(outcome.deaths) == set(items)
    for service, count in outcome.deaths.items():
        assert ATTEMPTS <= count <= ATTEMPTS * items[service] * POISONED, service
