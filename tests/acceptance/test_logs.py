"""What a whole run leaves in its logs: what happened to which batch, as JSON, and no text of anybody and no key."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from karma.messages import GenerateBatch, GenerateItem, Header, Turn
from karma.messages.wire import encode
from karma.queue.celery_app import create_app
from karma.queue.redis import connect
from karma.worker.run import SERVICES
from tests.support.endpoint import Endpoint, serve
from tests.support.pipeline import Pipeline, wait_until

#: What no log may hold, by where it goes in; each is found nowhere else.
SECRETS = {
    "prompt": "quagga-prompt",
    "system turn": "quagga-system",
    "reference": "quagga-reference",
    "key": "sk-quagga-key",
    "answer": "quagga-answer",
    "rationale": "quagga-rationale",
    "refusal": "quagga-refusal",
    "finish reason": "quagga-finish",
    "message": "quagga-message",
}

#: A name that tries to forge a line and to steer the terminal.
EVIL = 'evil\n{"level": "forged"}\r\x1b[31m\u202e\x9b'

#: Prompts per stream.
STREAMS = {"default": 6, "backend": 3, "policy": 3, EVIL: 3}

POOL = """
[pipeline]
claim_silence_s = 3
publish_grace_s = 2
max_attempts = 2
batch_items = 3
[stream]
goal = "label"
models = ["red", "blue"]
checker = "contains"
[streams.backend]
models = ["leaky", "red"]
[streams.policy]
models = ["red", "blue"]
policy = "leaky"
[models.red]
backend = "openai"
model = "red"
base_url = "{url}"
api_key_env = "TEST_KEY"
system = "{system}"
max_retries = 0
[models.blue]
backend = "openai"
model = "blue"
base_url = "{url}"
api_key_env = "TEST_KEY"
[models.leaky]
backend = "leaky"
model = "leaky"
[judges.fair]
kind = "openai"
[judges.fair.model]
backend = "openai"
model = "judge-fair"
base_url = "{url}"
api_key_env = "TEST_KEY"
[judges.leaky]
kind = "leaky"
"""


def talkative(endpoint: Endpoint) -> None:
    """Let an endpoint fill every field with words, and begin with refusals that repeat what was asked."""
    quiet = endpoint.answer

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        said = quiet(body)
        choice = said["choices"][0]
        if body["model"].startswith("judge"):
            choice["message"]["content"] = f"{SECRETS['rationale']}\n{choice['message']['content']}"
        else:
            choice["message"]["content"] += f" {SECRETS['answer']}"
            choice["finish_reason"] = SECRETS["finish reason"]
        return said

    vars(endpoint)["answer"] = answer
    refusal = f"{SECRETS['refusal']} {SECRETS['prompt']} {SECRETS['key']}"
    endpoint.scripted += [
        web.json_response({"error": {"message": refusal}}, status=400),
        web.json_response({"choices": refusal}),
        web.Response(text=refusal, status=302, headers={"Location": f"http://127.0.0.1:9/{SECRETS['refusal']}"}),
    ]


def send_bad_messages(url: str) -> None:
    """Everything that nobody should send: KARMA's own kind broken in four ways, and others'."""
    app, redis, secret = create_app(url), connect(url), SECRETS["message"]
    turn = Turn("user", secret)
    sound = encode(
        GenerateBatch(
            header=Header(stream="s", batch="b", token="t"),
            model="red",
            specification="f",
            items=(GenerateItem(item=1, prompt=1, sample=0, seed=0, messages=(turn,)),),
        )
    )
    for broken in (
        secret,
        sound.replace("generate.v2", secret),
        sound.replace('"role":"user"', f'"role":"{secret}"'),
        sound.replace('"sample"', f'"{secret}":1,"sample"'),
    ):
        app.send_task("karma.generate", args=[broken], queue="generate.red", ignore_result=True)
    app.send_task(f"karma.{secret}", args=[secret], queue="match", ignore_result=True)
    app.send_task("karma.match", args=[secret], kwargs={secret: secret}, queue="match", ignore_result=True)
    with app.producer_or_acquire() as producer:
        producer.publish(secret, routing_key="match", exchange="", content_type="application/x-pickle")
        producer.publish({"what": secret}, routing_key="match", exchange="", serializer="json")
    redis.lpush("match", secret)


@dataclass
class Run:
    """What is left of a run."""

    logs: Path
    database: Path
    keys: set[str | None]  # Authorization headers that the endpoint was given

    def lines(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for path in self.logs.glob("*.log")
            if path.stem not in ("redis", "supervisor")
            for line in path.read_text().split("\n")[:-1]
        ]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.database) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("logs")
    with serve() as endpoint:
        talkative(endpoint)
        karma = Pipeline(home, POOL.format(url=endpoint.url, system=SECRETS["system turn"]), "tests.support.leaky")
        karma.environment |= {"KARMA_LOG_LEVEL": "DEBUG", "KARMA_PAGE_PORT": "0", "TEST_KEY": SECRETS["key"]}
        with karma.up(page=True):
            send_bad_messages((home / "run" / "redis.url").read_text())
            for stream, count in STREAMS.items():
                prompts = [
                    {"id": f"p{n}", "prompt": f"Say {n}. {SECRETS['prompt']}", "reference": SECRETS["reference"]}
                    for n in range(count)
                ]
                if stream == "backend":
                    prompts[0]["prompt"] += " mortal"
                karma.enqueue(prompts, "--stream", stream)
            karma.wait_for_end(sum(STREAMS.values()), 150)
            wait_until(lambda: not any(one["length"] for one in karma.status()["queues"].values()), 30, "nothing waits")
    return Run(home / "logs", home / "karma.db", set(endpoint.tokens))


def test_no_text_and_no_key_is_in_any_log(run: Run) -> None:
    for path in run.logs.iterdir():
        written = path.read_text(errors="replace")
        assert [what for what, secret in SECRETS.items() if secret in written] == [], path.name


def test_all_of_it_went_through_the_run(run: Run) -> None:
    """What cannot be found in the logs was there to be logged."""
    assert run.keys == {f"Bearer {SECRETS['key']}"}
    assert run.rows(f"SELECT count(*) FROM prompts WHERE messages LIKE '%{SECRETS['prompt']}%'") == [(15,)]
    assert run.rows(f"SELECT count(*) FROM responses WHERE text LIKE '%{SECRETS['answer']}%'")[0][0] > 15
    failures = {reason for (reason,) in run.rows("SELECT failure FROM responses WHERE failure IS NOT NULL")}
    assert any(SECRETS["refusal"] in reason for reason in failures)
    assert "the backend of leaky failed: ValueError" in failures
    assert any("heartbeat expired" in reason for reason in failures), "a worker died of it"
    assert run.rows("SELECT DISTINCT error FROM prompts WHERE state = 'dead'") == [
        ("the policy leaky failed: RuntimeError",)
    ]
    events = {line["event"] for line in run.lines()}
    assert any("a message is refused" in event for event in events)


def test_every_line_of_a_worker_is_json_and_says_when_how_serious_and_who(run: Run) -> None:
    lines = run.lines()
    assert all(list(line)[:4] == ["timestamp", "level", "logger", "event"] for line in lines)
    named = {(line["service"], line["worker"].partition("-")[0]) for line in lines if "worker" in line}
    assert all(service == of_worker for service, of_worker in named)
    assert {service for service, _of_worker in named} >= set(SERVICES)


def test_what_a_worker_says_at_the_level_info_is_there(run: Run) -> None:
    """Celery would set the level to its own."""
    ready = {line["service"] for line in run.lines() if "is ready" in line["event"] and line["level"] == "info"}
    assert ready >= {*SERVICES} - {"page"}, "the page is no consumer"


def test_a_failure_names_stage_stream_batch_and_prompts(run: Run) -> None:
    failed = [line for line in run.lines() if line["event"].startswith("the policy leaky failed on")]
    assert {(line["stage"], line["stream"]) for line in failed} == {("match", "policy")}
    of_stream = {number for (number,) in run.rows("SELECT id FROM prompts WHERE stream = 'policy'")}
    assert {int(line["event"].rpartition(" ")[2]) for line in failed} == of_stream
    assert all(line["batch"] for line in failed)
    assert {line["exception"][0]["type"] for line in failed} == {"RuntimeError"}
    judged = [line for line in run.lines() if line["event"].startswith("the judge leaky failed")]
    pairs = {row for (row,) in run.rows("SELECT id FROM pairs")}
    assert judged
    assert all(line["stage"] == "judge" and set(line["pairs"]) <= pairs for line in judged)


def test_a_streams_name_forges_no_line(run: Run) -> None:
    lines = run.lines()
    assert {line["level"] for line in lines} <= {"debug", "info", "warning", "error", "critical"}
    assert {line["stage"] for line in lines if line.get("stream") == EVIL} == {
        "generate", "score", "match", "judge", "learn",
    }  # fmt: skip
    for path in run.logs.glob("*.log"):
        if path.stem not in ("redis", "supervisor"):
            assert path.read_bytes().translate(None, b"\n").decode("ascii").isprintable(), path.name
