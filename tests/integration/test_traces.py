"""Traces of a real run, as a collector receives them: the way of a prompt, its calls, its verdicts, and no text."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.collector import Collector, collect
from tests.support.endpoint import serve
from tests.support.pipeline import Pipeline

PROMPTS = 10

#: What no span may hold.
SECRETS = ("quagga-prompt", "quagga-system", "quagga-reference", "sk-quagga-key", "quagga-refusal", "The answer of")

POOL = """
[pipeline]
batch_items = 4
[models.red]
backend = "openai"
model = "red"
base_url = "{url}"
api_key_env = "TEST_KEY"
system = "quagga-system"
temperature = 0.5
max_retries = 0
[models.blue]
backend = "openai"
model = "blue-1"
base_url = "{url}"
max_retries = 0
[judges.fair]
kind = "openai"
[judges.fair.model]
backend = "openai"
model = "judge-fair"
base_url = "{url}"
[judges.checked]
kind = "verifier"
checker = "contains"
both_orders = false
[stream]
goal = "label"
"""

#: Spans of a prompt's way, each under the next.
WAY = ("process learn", "process judge", "process match", "process score", "process generate", "dispatch")


@dataclass
class Run:
    """What a collector was sent and what the store says."""

    collector: Collector
    database: Path

    @property
    def spans(self) -> list[dict[str, Any]]:
        return self.collector.spans

    def batches(self, prompt: int, stage: str) -> list[dict[str, Any]]:
        return [
            span
            for span in self.spans
            if span["attributes"].get("karma.stage") == stage and prompt in span["attributes"]["karma.prompts"]
        ]

    def calls(self) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["name"].startswith("chat ")]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.database) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("traces")
    with collect() as collector, serve() as endpoint:
        # The first call is refused, with words.
        endpoint.scripted.append(web.json_response({"error": {"message": "quagga-refusal"}}, status=400))
        karma = Pipeline(home, POOL.format(url=endpoint.url))
        karma.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "TEST_KEY": "sk-quagga-key"}
        karma.environment["KARMA_PAGE_PORT"] = "0"
        with karma.up():
            karma.enqueue(
                [
                    {"id": f"p{n}", "prompt": f"Say {n}. quagga-prompt", "reference": "quagga-reference"}
                    for n in range(PROMPTS)
                ]
            )
            karma.wait_for_end(PROMPTS)
        return Run(collector, home / "karma.db")


def test_the_way_of_a_prompt_is_one_trace_from_dispatch_to_learning(run: Run) -> None:
    spans = run.collector.by_id()
    paired = [prompt for (prompt,) in run.rows("SELECT prompt FROM pairs")]
    assert len(paired) == PROMPTS - 1, "one prompt's answer was refused"
    for prompt in paired:
        for learned in run.batches(prompt, "learn"):
            way = [learned]
            while way[-1]["parent"]:
                way.append(spans[way[-1]["parent"]])
            stages = [span["name"].partition(".")[0] for span in way]
            assert stages == list(WAY)
            assert all(prompt in span["attributes"]["karma.prompts"] for span in way[:-1])
        assert {span["trace"] for name in WAY[:-1] for span in run.batches(prompt, name.split()[1])} == {
            way[0]["trace"]
        }
        assert {span["name"] for span in run.batches(prompt, "generate")} == {
            "process generate.red",
            "process generate.blue",
        }
        assert len(run.batches(prompt, "score")) == 2
        assert len(run.batches(prompt, "learn")) == 2, "of two judges"


def test_every_span_has_an_id_of_its_own_a_parent_that_is_there_and_times_in_order(run: Run) -> None:
    spans = run.collector.by_id()
    assert len(spans) == len(run.spans)
    for span in run.spans:
        assert (len(span["trace"]), len(span["id"])) == (32, 16)
        assert int(span["trace"], 16) and int(span["id"], 16)
        assert span["start_ns"] <= span["end_ns"]
        if span["name"] == "dispatch":
            assert span["parent"] == ""
        else:
            parent = spans[span["parent"]]
            assert parent["trace"] == span["trace"]
            assert parent["start_ns"] <= span["start_ns"]


def test_every_batch_is_a_span_of_the_worker_that_did_it(run: Run) -> None:
    services = {
        "generate": "generation",
        "score": "scoring",
        "match": "matching",
        "judge": "judging",
        "learn": "scoring",
    }
    for span in run.spans:
        stage = span["attributes"].get("karma.stage")
        if stage:
            assert span["service"] == f"karma-{services[stage]}"
            assert span["worker"].startswith(services[stage])
            assert span["attributes"]["messaging.destination.name"] == span["name"].removeprefix("process ")
            assert span["attributes"]["karma.stream"] == "default"
            assert span["attributes"]["karma.waited_s"] >= 0
            assert not span["error"]


def test_every_call_is_a_span_under_its_batch_with_its_model_and_tokens(run: Run) -> None:
    spans = run.collector.by_id()
    asked = Counter(span["name"] for span in run.calls())
    verdicts = run.rows("SELECT count(*) FROM verdicts WHERE judge = 'fair'")[0][0]
    assert asked == {"chat red": PROMPTS, "chat blue-1": PROMPTS, "chat judge-fair": verdicts}
    for span in run.calls():
        about = span["attributes"]
        assert about["gen_ai.operation.name"] == "chat"
        assert about["gen_ai.provider.name"] == "openai"
        assert span["name"] == f"chat {about['gen_ai.request.model']}"
        assert about["server.address"] == "127.0.0.1"
        assert about["karma.prompt"] in spans[span["parent"]]["attributes"]["karma.prompts"]
    for model, name in (("red", "red"), ("blue", "blue-1")):
        counted = [
            sum(span["attributes"].get(f"gen_ai.usage.{way}_tokens", 0) for span in run.calls() if name in span["name"])
            for way in ("input", "output")
        ]
        query = f"SELECT sum(tokens_in), sum(tokens_out) FROM responses WHERE model = '{model}'"
        assert [tuple(counted)] == run.rows(query)


def test_a_call_took_as_long_as_the_store_says(run: Run) -> None:
    latencies = {
        (model, prompt): latency
        for model, prompt, latency in run.rows("SELECT model, prompt, latency_s FROM responses")
    }
    for span in run.calls():
        model = span["attributes"].get("karma.model")
        if model is not None:
            took_s = (span["end_ns"] - span["start_ns"]) / 1e9
            assert took_s == pytest.approx(latencies[model, span["attributes"]["karma.prompt"]], abs=1e-6)


def test_a_refused_call_says_its_kind_and_none_of_the_endpoints_words(run: Run) -> None:
    (refused,) = [span for span in run.calls() if span["error"]]
    assert refused["attributes"]["error.type"] == "refused"
    assert refused["said"] == ""
    assert any("quagga-refusal" in reason for (reason,) in run.rows("SELECT failure FROM responses") if reason)


def test_every_verdict_is_an_event_with_its_score(run: Run) -> None:
    """On the call of the judge's model; of a judge without a model, on its batch."""
    events = {
        (event["karma.pair"], event["gen_ai.evaluation.name"], event["karma.order"]): (span["name"], event)
        for span in run.spans
        for event in span["events"]
    }
    verdicts = run.rows("SELECT pair, judge, shown, probability FROM verdicts")
    assert len(events) == len(verdicts) == 3 * (PROMPTS - 1)
    for pair, judge, shown, probability in verdicts:
        where, event = events[pair, judge, shown]
        assert event["name"] == "gen_ai.evaluation.result"
        assert event["gen_ai.evaluation.score.value"] == probability
        label = "first" if probability > 0.5 else "second" if probability < 0.5 else "tie"
        assert event["gen_ai.evaluation.score.label"] == label
        assert where == ("chat judge-fair" if judge == "fair" else "process judge.checked")


def test_no_span_holds_a_text_or_a_key(run: Run) -> None:
    sent = b"".join(run.collector.bodies)
    assert b"process generate.red" in sent
    assert [secret for secret in SECRETS if secret.encode() in sent] == []
