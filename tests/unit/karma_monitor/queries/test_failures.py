"""Reasons of failures: counted by model and judge, with an example and what helps; and what prompts came to."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest

from karma.store import Store
from karma.store.schema import pairs, prompts, resolutions, responses, streams, verdicts
from karma_monitor.queries.failures import Reason, help_for, reasons
from karma_monitor.queries.finished import finished_since
from karma_monitor.status import status
from tests.support.stores import memory


@pytest.fixture
def store() -> Store:
    """Three prompts of a stream: one dead, one without a pair, one with an unscored pair; and one of another stream."""
    made = memory()
    with made.transaction() as transaction:
        connection = transaction.ledger.connection
        connection.execute(streams.insert(), [{"name": name, "created_at": 0.0} for name in ("s", "t")])
        states = [("s", "dead", None, "boom"), ("s", "done", "too few", None), ("s", "done", None, None)]
        for number, (stream, state, no_pair, error) in enumerate([*states, ("t", "done", None, None)], 1):
            connection.execute(
                prompts.insert(),
                {"id": number, "stream": stream, "prompt_id": str(number), "content_hash": "", "messages": "[]",
                 "priority": 0, "state": state, "awaited": 0, "no_pair": no_pair, "error": error, "accepted_at": 0.0,
                 "ended_at": 10.0 * number},
            )  # fmt: skip
        texts = {2: "401: bad key", 3: "401: bad key", 4: "429: rate limited after 5 retries"}
        for number, failure in texts.items():
            for sample in range(2 if number == 2 else 1):
                row = {"prompt": number, "model": "m", "sample": sample, "failure": failure, "created_at": 0.0}
                connection.execute(responses.insert(), row)
        pair = {"id": 1, "prompt": 3, "response_a": 1, "response_b": 2, "policy": "p", "reasons": "{}",
                "judged_probability": 1.0, "snapshot": 0, "awaited": 0, "created_at": 0.0}  # fmt: skip
        connection.execute(pairs.insert(), pair)
        for shown, text in enumerate(("'A wins'", "'A, of course'")):
            row = {"pair": 1, "judge": "j", "template_hash": "", "shown": shown, "created_at": 0.0}
            connection.execute(verdicts.insert(), {**row, "failure": f"unparsable verdict: {text}"})
        connection.execute(
            resolutions.insert(), {"pair": 1, "prompt": 3, "outcome": "unscored", "reason": "r", "resolved_at": 30.0}
        )
    return made


def found(store: Store, among=None) -> list[Reason]:
    with store.reading() as transaction:
        return reasons(transaction.ledger.connection, among)


def test_reasons_are_counted_by_model_and_judge_the_most_frequent_first(store: Store) -> None:
    assert [(one.of, one.name, one.count, one.example) for one in found(store)] == [
        ("model", "m", 3, "401: bad key"),
        ("judge", "j", 2, "unparsable verdict: 'A wins'"),
        ("model", "m", 1, "429: rate limited after 5 retries"),
        ("prompts", "s", 1, "boom"),
    ]


def test_reasons_of_one_stream_leave_out_the_others(store: Store) -> None:
    assert [one.count for one in found(store, prompts.c.stream == "t")] == [1]
    assert found(store, prompts.c.stream == "nosuch") == []


@pytest.mark.parametrize(
    ("failure", "helps"),
    [
        ("401: bad key", "api_key_env"),
        ("404: Not Found", "ends with /v1"),
        ("500: server error", "/v1"),
        ("the environment variable K (api_key_env of m) is not set here", "set the variable"),
        ("unparsable verdict: ''", "max_tokens"),
        ("a plug-in's own words", "worker's log"),
        ("empty answer: finish_reason stop. No text came", "chat template"),
        ("empty answer: finish_reason length. All tokens may have gone: raise max_tokens", "spent all of them"),
    ],
)
def test_what_helps_is_said(failure: str, helps: str) -> None:
    assert helps in help_for(failure)


def test_status_names_the_three_most_frequent_reasons_and_follows_its_schema(store: Store) -> None:
    state = status(store, None, None)
    jsonschema.validate(state, json.loads((files("karma_monitor") / "status.schema.json").read_text()))
    assert [one["count"] for one in state["reasons"]] == [3, 2, 1]


def test_a_summary_counts_what_finished_since_and_whether_any_of_it_failed(store: Store) -> None:
    def since(moment: float, stream: str = "s"):
        with store.reading() as transaction:
            return finished_since(transaction.ledger.connection, stream, moment)

    everything = since(0.0)
    assert (everything.prompts, everything.dead, everything.without_pair, everything.unanswered) == (3, 1, 1, 1)
    assert (everything.outcomes["unscored"], everything.failed) == (1, True)
    first, *others = everything.sentences()
    assert first == "3 prompts finished meanwhile: 1 unscored, 1 without a pair, 1 dead"
    assert others[0].startswith("3 calls of the model m failed: 401: bad key (")
    assert since(25.0).prompts == 1
    assert not since(0.0, "t").failed  # a failed call whose prompt has no loss to show for it
    assert list(since(99.0).sentences()) == ["0 prompts finished meanwhile: no pair"]
