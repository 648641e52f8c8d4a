"""The whole pipeline against an OpenAI-compatible endpoint that misbehaves as real ones do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.support.endpoint import Behaviour, Endpoint, pool, serve
from tests.support.pipeline import Pipeline

PROMPTS = 300


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Endpoint, Path]:
    """300 prompts through an endpoint with 5 % of 429s, 1 % of dropped connections, 2 % unparsable and 10 % ties."""
    home = tmp_path_factory.mktemp("endpoint")
    with serve(Behaviour(latency_ms=10, rate_429=0.05, drop=0.01, unparsable=0.02, ties=0.1, seed=7)) as endpoint:
        pipeline = Pipeline(home, pool(endpoint.url))
        with pipeline.up():
            pipeline.enqueue([{"prompt": f"Tell me about {n}.", "id": f"p{n}"} for n in range(PROMPTS)])
            status = pipeline.wait_for_end(PROMPTS)
    return status, endpoint, home / "karma.db"


def test_every_prompt_is_done_and_has_exactly_one_end(run: tuple[dict, Endpoint, Path]) -> None:
    """One pair a prompt: the five resolutions add up to the prompts."""
    status, _endpoint, _database = run
    assert status["prompts"] == {
        "accepted": 0, "dispatched": 0, "answered": 0, "matched": 0, "done": PROMPTS, "dead": 0,
    }  # fmt: skip
    assert sum(status["resolutions"].values()) == PROMPTS


def test_ties_and_unparsable_verdicts_are_counted_as_what_they_are(run: tuple[dict, Endpoint, Path]) -> None:
    """Shares are of pairs; bounds are five binomial standard deviations."""
    status, _endpoint, _database = run
    assert 4 <= status["resolutions"]["tie"] <= 56
    assert 0 < status["resolutions"]["unscored"] <= 18
    assert status["resolutions"]["inconsistent"] == 0
    assert status["preferences"]["judge"] == status["resolutions"]["decisive"] > PROMPTS // 2


def test_refused_and_dropped_calls_were_tried_again_and_left_no_trace(run: tuple[dict, Endpoint, Path]) -> None:
    """The endpoint answered each call once: two responses and two verdicts a pair."""
    _status, endpoint, database = run
    assert endpoint.refused["429"] > 0
    assert endpoint.refused["dropped"] > 0
    with sqlite3.connect(database) as connection:
        failed = connection.execute("SELECT count(*) FROM responses WHERE failure IS NOT NULL").fetchone()[0]
        pairs = connection.execute("SELECT count(*) FROM pairs").fetchone()[0]
        verdicts = connection.execute("SELECT count(*) FROM verdicts").fetchone()[0]
    assert failed == 0
    assert endpoint.calls["red"] == endpoint.calls["blue"] == PROMPTS
    assert endpoint.calls["judge-fair"] == verdicts == 2 * pairs


def test_no_preference_has_a_side_that_is_empty_or_equal_to_the_other(run: tuple[dict, Endpoint, Path]) -> None:
    """Ties and unscored pairs never turn into preferences."""
    _status, _endpoint, database = run
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT c.text, r.text, res.outcome FROM resolutions res "
            "LEFT JOIN responses c ON c.id = res.chosen LEFT JOIN responses r ON r.id = res.rejected"
        ).fetchall()
    for chosen, rejected, outcome in rows:
        if outcome == "decisive":
            assert chosen and rejected and chosen != rejected
        else:
            assert chosen is None and rejected is None
