"""A stream that an earlier version left in the middle goes on with today's and ends exact: no prompt, answer or verdict
is lost, doubled or, where Redis was kept, asked for again.

The folders beside this file hold such streams (`stopped_stream`). None is ever deleted or made anew.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from karma.config.goals import SETTINGS
from karma.config.pool import Pool
from karma.messages.wire import decode
from karma.store import Store
from tests.contracts.stopped import Stopped, rows, states, whereabouts
from tests.support.databases import migrate, server
from tests.support.memory import Flow
from tests.support.pipeline import Pipeline, wait_until
from tests.support.redis_server import Redis
from tests.support.verifier import assert_exact

pytestmark = pytest.mark.server

#: What became of Redis meanwhile: it stayed up; it was stopped and started again with its file; it was emptied; it
#: stayed up and a signing key was set, so that what waits in it is refused.
Fate = Literal["kept", "restarted", "emptied", "signed"]

STOPPED = [Stopped(path.parent) for path in sorted(Path(__file__).parent.glob("*/*/expected.json"))]
FATES: tuple[Fate, ...] = ("kept", "restarted", "emptied", "signed")
#: Each way costs half a minute for each store: `make test` has one, `.ci/run` three, and all of them run by name.
MARKS: dict[Fate, list[pytest.MarkDecorator]] = {
    "kept": [],
    "emptied": [pytest.mark.ci],
    "restarted": [pytest.mark.long],
    "signed": [pytest.mark.ci],
}
DEADLINE_S = 90

#: Columns that are written once and never changed.
WRITTEN = {
    "streams": "name, created_at",
    "prompts": "id, stream, prompt_id, content_hash, messages, skill, reference, priority, accepted_at",
    "responses": "id, prompt, model, sample, text, failure, features, quality, finish_reason, tokens_in, tokens_out, "
    "latency_s, created_at",
    "pairs": "id, prompt, response_a, response_b, policy, reasons, kinship, gap, gap_deviation, information, likeness, "
    "novelty, judged_probability, judged, predicted, predicted_tie, snapshot, created_at",
    "verdicts": "id, pair, judge, template_hash, shown, probability, failure, rationale, tokens_in, tokens_out, "
    "latency_s, created_at",
    "resolutions": "pair, prompt, outcome, chosen, rejected, probability, flipped, label_source, reason, resolved_at",
}
OPEN = "prompts WHERE state NOT IN ('done', 'dead')"

#: A response by prompt, model and sample, or a verdict by pair, judge and order.
Key = tuple[int, str, int]


class Snapshot:
    """What a store holds at one moment."""

    def __init__(self, url: str) -> None:
        self.states = states(url)
        self.written = {table: set(rows(url, f"SELECT {columns} FROM {table}")) for table, columns in WRITTEN.items()}
        self.ended = set(
            rows(url, "SELECT id, state, no_pair, error, ended_at FROM prompts WHERE state IN ('done', 'dead')")
        )
        self.dead = {row[0] for row in self.ended if row[1] == "dead"}
        answers = rows(url, "SELECT prompt, model, sample, text, failure FROM responses")
        self.answers: dict[Key, Any] = {(row[0], row[1], row[2]): row[3:] for row in answers}
        opinions = rows(url, "SELECT pair, judge, shown, probability, failure FROM verdicts")
        self.opinions: dict[Key, Any] = {(row[0], row[1], row[2]): row[3:] for row in opinions}
        brought = rows(url, "SELECT id, given FROM prompts WHERE given IS NOT NULL")
        self.given: dict[Key, Any] = {
            (prompt, model, sample): (text, None)
            for prompt, given in brought
            for model, sample, text in json.loads(given)
        }


@dataclass(frozen=True)
class Outcome:
    """A stream that went on: its store before and after, what was asked, and what the gateway said."""

    stopped: Stopped
    fate: Fate
    url: str
    before: Snapshot
    open: dict[int, str]  # what was open before, and where it was
    paused: dict[str, dict[str, int]]  # states of the paused streams when all else had ended
    calls: Counter[tuple[str, int, str, int]]  # kind, prompt or pair, model or judge, sample or order
    log: str

    @cached_property
    def after(self) -> Snapshot:
        return Snapshot(self.url)

    def asked(self, kind: str) -> set[Key]:
        return {(call[1], call[2], call[3]) for call in self.calls if call[0] == kind}

    def given(self) -> dict[Key, Any]:
        """The responses that came with prompts and were not recorded; those of dead prompts never are."""
        return {
            key: value
            for key, value in self.before.given.items()
            if key not in self.before.answers and key[0] not in self.after.dead
        }

    def answers_in_flight(self) -> dict[Key, Any]:
        found = {
            (one["prompt"], one["model"], one["sample"]): (one["text"], one["failure"]) for one in self._in("score")
        }
        return {key: value for key, value in found.items() if key not in self.before.given}

    def opinions_in_flight(self) -> dict[Key, Any]:
        return {
            (one["pair"], one["judge"], one["order"]): (one["probability"], one["failure"]) for one in self._in("learn")
        }

    def _in(self, stage: str) -> list[dict[str, Any]]:
        """Results that were in flight and answer what was open; none where Redis was emptied or they are refused."""
        results = [] if self.fate in ("emptied", "signed") else self.stopped.results(stage)
        return [one for one in results if one["item"] in self.open]


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    with server() as postgresql:
        yield postgresql.url


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((stopped, fate), id=f"{stopped}-{fate}", marks=MARKS[fate])
        for stopped, fate in product(STOPPED, FATES)
    ],
)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """A stopped stream that went on to its end: `karma up` as today's version has it, on what the earlier one left."""
    stopped, fate = request.param
    home = tmp_path_factory.mktemp("upgrade")
    if stopped.folder.name == "sqlite":
        url = f"sqlite:///{home / 'karma.db'}"
        stopped.bring_back_sqlite(home / "karma.db")
    else:
        url = new_database(request.getfixturevalue("postgresql_url"), f"of_{stopped.folder.parent.name}_{fate}")
        stopped.bring_back_postgresql(url)
    with ExitStack() as stack:
        redis = Redis(home / "redis")
        redis.start()
        stack.callback(redis.stop)
        if fate != "emptied":
            stopped.bring_back_redis(redis.client, url, same_life=fate != "restarted")
        before, places = Snapshot(url), whereabouts(url, stopped.redis)
        calls = home / "calls"
        calls.touch()
        karma = Pipeline(home, stopped.pool, plugins="tests.support.noted", database_url=url, redis_url=redis.url)
        karma.environment["KARMA_TEST_CALLS"] = str(calls)
        if fate == "signed":
            karma.environment["KARMA_SIGNING_KEY"] = "a key that was set with the upgrade"
        with karma.up():
            pauses = "(SELECT stream FROM pauses)"
            _wait_for_none(karma, url, f"{OPEN} AND stream NOT IN {pauses}")
            paused = {stream: states(url)[stream] for (stream,) in rows(url, "SELECT stream FROM pauses")}
            karma.call("resume")
            _wait_for_none(karma, url, OPEN)
        yield Outcome(
            stopped,
            fate,
            url,
            before,
            places,
            paused,
            Counter(tuple(json.loads(line)) for line in calls.read_text().splitlines()),
            "".join(path.read_text() for path in (home / "logs").glob("*.log")),
        )


def new_database(server_url: str, name: str) -> str:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{server_url.rpartition('/')[0]}/{name}"


def _wait_for_none(karma: Pipeline, url: str, what: str) -> None:
    try:
        wait_until(lambda: rows(url, f"SELECT count(*) FROM {what}") == [(0,)], DEADLINE_S, "all came to an end")
    except AssertionError as late:
        raise AssertionError(f"{late}: {states(url)}\n{karma.logs()}") from None


def test_the_stream_is_the_one_that_was_stopped(outcome: Outcome) -> None:
    expected = outcome.stopped.expected
    assert outcome.before.states == expected["prompts"]
    assert Counter(outcome.open.values()) == expected["open"]


def test_every_prompt_has_exactly_one_end_and_nothing_is_doubled(outcome: Outcome) -> None:
    assert_exact(outcome.url, len(outcome.before.written["prompts"]))
    bad = rows(outcome.url, "SELECT id FROM prompts WHERE prompt_id LIKE 'bad-%'")
    assert outcome.after.dead == {row[0] for row in bad}
    left = "SELECT w.id FROM work_items w JOIN prompts p ON p.id = w.prompt WHERE p.state <> 'dead'"
    assert rows(outcome.url, left) == []


def test_what_was_written_is_there_as_it_was(outcome: Outcome) -> None:
    for table in WRITTEN:
        assert outcome.before.written[table] <= outcome.after.written[table], table
    assert outcome.before.ended <= outcome.after.ended


def test_what_was_in_flight_is_recorded_as_it_was(outcome: Outcome) -> None:
    for in_flight, recorded in (
        (outcome.given(), outcome.after.answers),
        (outcome.answers_in_flight(), outcome.after.answers),
        (outcome.opinions_in_flight(), outcome.after.opinions),
    ):
        assert in_flight == {key: recorded.get(key) for key in in_flight}
    assert bool(outcome.answers_in_flight() and outcome.opinions_in_flight()) == (outcome.fate in ("kept", "restarted"))


def test_all_else_was_asked_for_exactly_once(outcome: Outcome) -> None:
    """And nothing else: neither what was recorded nor what was in flight as a result."""
    assert set(outcome.calls.values()) == {1}
    before, after = outcome.before, outcome.after
    new = after.answers.keys() - before.answers.keys()
    assert outcome.asked("generate") == new - outcome.given().keys() - outcome.answers_in_flight().keys()
    judges = tomllib.loads(outcome.stopped.pool)["judges"]
    new = {key for key in after.opinions.keys() - before.opinions.keys() if judges[key[1]]["kind"] == "noted"}
    assert outcome.asked("judge") == new - outcome.opinions_in_flight().keys()


def test_messages_that_waited_are_used_where_redis_lives_on(outcome: Outcome) -> None:
    """The log names each batch that is given up as lost."""
    messages = [json.loads(text) for texts in outcome.stopped.queues.values() for text in texts]
    asking = {one["header"]["batch"] for one in messages if one["message"].startswith(("generate", "match", "judge"))}
    lost = {batch for batch in asking if batch in outcome.log}
    match outcome.fate:
        case "kept":
            assert not lost
        case "emptied" | "signed":
            assert lost


def test_what_was_paused_stays_paused_until_it_is_resumed(outcome: Outcome) -> None:
    assert outcome.paused
    assert outcome.paused == {stream: outcome.before.states[stream] for stream in outcome.paused}


def test_the_store_has_todays_schema(outcome: Outcome, tmp_path: Path) -> None:
    new = f"sqlite:///{tmp_path / 'new.db'}"
    migrate(new)
    revision = "SELECT version_num FROM alembic_version"
    assert rows(outcome.url, revision) == rows(new, revision)


def test_a_stream_that_holds_prompts_keeps_the_goal_it_began_with(outcome: Outcome) -> None:
    """A pool file that names no goal: the one of an earlier version's streams was `label`."""
    assert set(rows(outcome.url, "SELECT goal FROM streams")) == {("label",)}
    tables = tomllib.loads(outcome.stopped.pool)
    wanted = {name: table["policy"] for name, table in tables["streams"].items() if "policy" in table}
    wanted |= {"checked@random": "random", "checked@kin": "kin"}
    formed = "SELECT p.stream, x.policy FROM pairs x JOIN prompts p ON p.id = x.prompt"
    new = ' WHERE x.reasons LIKE \'%"goal": "label"%\''
    assert len(rows(outcome.url, formed)) > len(rows(outcome.url, formed + new)) > 0
    found = set(rows(outcome.url, formed))
    assert found == {(stream, wanted.get(stream, "informative")) for stream, _policy in found}


@pytest.mark.parametrize("stopped", STOPPED, ids=str)
def test_a_new_stream_in_an_old_store_gets_todays_goal_and_an_old_one_does_not(
    stopped: Stopped, tmp_path: Path, postgresql_url: str
) -> None:
    if stopped.folder.name == "sqlite":
        url = f"sqlite:///{tmp_path / 'karma.db'}"
        stopped.bring_back_sqlite(tmp_path / "karma.db")
    else:
        url = new_database(postgresql_url, f"of_{stopped.folder.parent.name}_goals")
        stopped.bring_back_postgresql(url)
    migrate(url)
    assert "goal" not in tomllib.loads(stopped.pool)["stream"]
    with closing(Store(url)) as store:
        flow = Flow(store, Pool.from_tables(tomllib.loads(stopped.pool), tmp_path / "pool.toml"))
        for stream in ("default", "never seen before"):
            flow.accept(*({"id": f"new-{n}", "prompt": f"Say {n}."} for n in range(4)), stream=stream)
        flow.finish()

    formed = (
        "SELECT DISTINCT p.stream, s.goal, x.policy FROM pairs x JOIN prompts p ON p.id = x.prompt "
        "JOIN streams s ON s.name = p.stream WHERE p.prompt_id LIKE 'new-%'"
    )
    assert set(rows(url, formed)) == {
        ("default", "label", "informative"),
        ("never seen before", "train", SETTINGS["train"]["policy"]),
    }


@pytest.mark.parametrize("stopped", STOPPED, ids=str)
def test_every_message_in_flight_is_read(stopped: Stopped) -> None:
    texts = [*stopped.kept.values(), *(text for texts in stopped.queues.values() for text in texts)]
    for text in texts:
        raw, message = json.loads(text), decode(text)
        assert [one.item for one in message.items] == [one["item"] for one in raw["items"]]
        assert message.header.batch == raw["header"]["batch"]
    assert {json.loads(text)["message"].partition(".")[0] for text in texts} == {
        "generate", "score", "match", "judge", "learn",
    }  # fmt: skip
