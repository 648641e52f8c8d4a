"""A small OpenAI-compatible server for tests: real HTTP, with latency, 429s, dropped connections and odd verdicts.

`python -m tests.support.endpoint --port 0 --latency-ms 50` prints its URL on the first line.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import random
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.serving import in_thread
from tests.support.slots import Spans

_FENCE = re.compile(r"^(==[0-9a-f]{16}==) RESPONSE A\n(.*)^\1 RESPONSE B\n(.*)^\1 END$", re.DOTALL | re.MULTILINE)

_PROMPT = re.compile(r"\bSay (\w+)\.")
_ANSWER = re.compile(r"The answer of (\w+) is")


@dataclass
class Behaviour:
    """How the server behaves; shares are in [0, 1]."""

    latency_ms: float = 0.0
    spread_ms: float = 0.0  # up to so much more, at random
    rate_429: float = 0.0  # of calls, at random
    drop: float = 0.0  # of calls, at random: the connection is closed without an answer
    unparsable: float = 0.0  # of pairs: no verdict can be read, in either order
    ties: float = 0.0  # of pairs
    position_bias: float = 0.0  # of pairs: the first is preferred whatever it is
    retry_after_s: float = 0.02
    per_minute: float = 0.0  # calls that are allowed; others are answered by 429. 0: all
    burst: float = 0.0  # of a token bucket; 0: in each minute of the clock
    limit_headers: bool = False  # of a token bucket: answers say what is left of it, and when it is full again
    full_at: int = 0  # calls at once beyond which each takes longer in proportion; 0: never
    seed: int = 0


@dataclass
class Endpoint:
    """A running server."""

    behaviour: Behaviour
    url: str = ""
    requests: Counter[str] = field(default_factory=Counter)  # calls read per model, answered or not
    calls: Counter[str] = field(default_factory=Counter)  # answered calls per model
    refused: Counter[str] = field(default_factory=Counter)
    scripted: deque[web.Response] = field(default_factory=deque)  # given first, one a call, whatever is asked
    arrived: int = 0  # calls read, answered or not
    bodies: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=1000))  # of the latest calls, as read
    tokens: deque[str | None] = field(default_factory=lambda: deque(maxlen=1000))  # their Authorization headers
    log: Path | None = None  # a JSON line a call
    gate: threading.Event | None = None  # calls after the first wait until it is set
    under_way: int = 0
    most_under_way: int = 0
    spans: dict[str, Spans] = field(default_factory=dict)  # model → when its calls were under way
    down: set[str] = field(default_factory=set)  # models whose calls are dropped
    spent: set[str] = field(default_factory=set)  # models whose quota is spent

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        self._random = random.Random(self.behaviour.seed)
        self._level, self._level_at = self.behaviour.burst, time.time()
        if not self.behaviour.burst:
            self._level_at = 0.0
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/stats", self.show_stats)
        app.router.add_get("/slots", self.show_slots)
        return app

    async def models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in self.calls]})

    async def show_stats(self, _request: web.Request) -> web.Response:
        return web.json_response(self.stats())

    async def show_slots(self, request: web.Request) -> web.Response:
        """Of each model, its calls under way in the middle of the run (between two shares of its calls), on average."""
        low, high = (float(request.query[name]) for name in ("low", "high"))
        return web.json_response({name: spans.mean_under_way(low, high) for name, spans in self.spans.items()})

    def stats(self) -> dict[str, Any]:
        """What was asked and what came of it; `requests` by model, the others of all models."""
        return {
            "requests": dict(self.requests),
            "answered": self.calls.total(),
            "dropped": self.refused["dropped"],
            "rate_limited": self.refused["429"],
        }

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if not body["messages"]:  # as some clients ask to see the headers of an answer
            return web.json_response({"error": {"message": "messages is empty"}}, status=400)
        self.arrived += 1
        number = self.arrived
        self.requests[body["model"]] += 1
        self.bodies.append(body)
        self.tokens.append(request.headers.get("Authorization"))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        outcome = "failed"
        received_at, started = time.time(), time.monotonic()
        try:
            if self.behaviour.per_minute and not self._allows(received_at):
                self.refused["429"] += 1
                outcome = "429"
                return web.Response(status=429)
            if self.behaviour.latency_ms or self.behaviour.spread_ms:
                more = self.behaviour.spread_ms * self._random.random()
                slower = max(1.0, self.under_way / self.behaviour.full_at) if self.behaviour.full_at else 1.0
                await asyncio.sleep((self.behaviour.latency_ms + more) * slower / 1000)
            if self.gate is not None and number > 1:
                while not self.gate.is_set():
                    await asyncio.sleep(0.002)
            if body["model"] in self.spent:
                outcome = "spent"
                error = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
                return web.json_response({"error": error}, status=429)
            if self.scripted:
                outcome = "scripted"
                return self.scripted.popleft()
            if self._random.random() < self.behaviour.rate_429:
                self.refused["429"] += 1
                outcome = "429"
                return web.Response(status=429, headers={"Retry-After": str(self.behaviour.retry_after_s)})
            if body["model"] in self.down or self._random.random() < self.behaviour.drop:
                self.refused["dropped"] += 1
                outcome = "dropped"
                assert request.transport is not None
                request.transport.abort()
                return web.Response(status=500)
            self.calls[body["model"]] += 1
            outcome = "answered"
            return web.json_response(self.answer(body), headers=self._limit_headers())
        finally:
            self.under_way -= 1
            self.spans.setdefault(body["model"], Spans()).add(started, time.monotonic())
            if self.log is not None:
                entry = {"outcome": outcome, "received_at": received_at, "answered_at": time.time(), **_named(body)}
                with self.log.open("a") as lines:
                    lines.write(json.dumps(entry) + "\n")

    def _allows(self, now: float) -> bool:
        """Whether the limit per minute allows a call, which it then counts."""
        behaviour = self.behaviour
        if behaviour.burst:
            filled = self._level + (now - self._level_at) * behaviour.per_minute / 60
            self._level, self._level_at = min(behaviour.burst, filled), now
        elif now // 60 != self._level_at // 60:
            self._level, self._level_at = behaviour.per_minute, now
        if self._level < 1:
            return False
        self._level -= 1
        return True

    def _limit_headers(self) -> dict[str, str]:
        behaviour = self.behaviour
        if not behaviour.limit_headers:
            return {}
        full_s = (behaviour.burst - self._level) * 60 / behaviour.per_minute
        return {
            "x-ratelimit-limit-requests": f"{behaviour.burst:.0f}",
            "x-ratelimit-remaining-requests": f"{int(self._level)}",
            "x-ratelimit-reset-requests": f"{1e3 * full_s:.0f}ms",
        }

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        asked = body["messages"][-1]["content"]
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if not body["model"].startswith("judge"):
            number = int(hashlib.sha256(f"{body['model']}{asked}{body.get('seed')}".encode()).hexdigest()[:8], 16)
            text = f"The answer of {body['model']} is {number}, after {number % 7 + 1} steps."
        elif body.get("logprobs"):  # one token: the letter that the verdict names, at nine to one
            text = self.verdict(asked).rsplit(" ", 1)[-1]
            other = {"A": "B", "B": "A"}.get(text, "")
            first = [{"token": text, "logprob": math.log(0.9)}, {"token": other, "logprob": math.log(0.1)}]
            choice["logprobs"] = {"content": [{**first[0], "top_logprobs": first}]}
        else:
            text = self.verdict(asked)
        choice["message"] = {"role": "assistant", "content": text}
        read, written = len(asked.split()), len(text.split())
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        return {"object": "chat.completion", "choices": [choice], "usage": usage}

    def verdict(self, asked: str) -> str:
        found = _FENCE.search(asked)
        if found is None:
            return "I see no pair."
        first, second = found[2], found[3]
        draw = _share(*sorted((first, second)))
        behaviour = self.behaviour
        for share, text in (
            (behaviour.unparsable, "Both have their merits, I would say."),
            (behaviour.ties, "They are equal.\nVerdict: tie"),
            (behaviour.position_bias, "The first one convinces.\nVerdict: A"),
        ):
            if draw < share:
                return text
            draw -= share
        better = "A" if _share(first) > _share(second) else "B"
        return f"One is clearer.\nVerdict: {better}"


def _named(body: dict[str, Any]) -> dict[str, Any]:
    """What a call is about: its model, the prompt (`Say NAME.`), and for a judge whose answer is shown first."""
    asked = body["messages"][-1]["content"]
    prompt, first = _PROMPT.search(asked), _ANSWER.search(asked)
    return {
        "model": body["model"],
        "seed": body.get("seed"),
        "prompt": prompt[1] if prompt else None,
        "first": first[1] if first else None,
    }


def _share(*texts: str) -> float:
    """A number in [0, 1) that depends on the texts alone."""
    return int(hashlib.sha256("\x1f".join(text.strip() for text in texts).encode()).hexdigest()[:12], 16) / 16**12


async def _start(endpoint: Endpoint, port: int) -> web.AppRunner:
    """Start serving; sets the endpoint's URL."""
    runner = web.AppRunner(endpoint.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    return runner


@contextmanager
def serve(behaviour: Behaviour | None = None) -> Iterator[Endpoint]:
    """A server in a thread of this process."""
    endpoint = Endpoint(behaviour or Behaviour())
    with in_thread(lambda: _start(endpoint, 0)):
        yield endpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    shares = ("rate-429", "drop", "unparsable", "ties", "position-bias")
    for name in ("latency-ms", "spread-ms", *shares, "per-minute", "burst"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    for name in ("seed", "full-at"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--log", type=Path, help="append a JSON line a call to this file")
    arguments = vars(parser.parse_args())
    port, log = arguments.pop("port"), arguments.pop("log")
    endpoint = Endpoint(Behaviour(**arguments), log=log)

    async def run() -> None:
        await _start(endpoint, port)
        print(endpoint.url, flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    main()


def pool(url: str, judge: str = "fair") -> str:
    """A pool file of two models and a judge at this endpoint, which judges every pair in both orders."""
    return f"""
[models.red]
backend = "openai"
model = "red"
base_url = "{url}"

[models.blue]
backend = "openai"
model = "blue"
base_url = "{url}"

[judges.{judge}]
kind = "openai"

[judges.{judge}.model]
backend = "openai"
model = "judge-{judge}"
base_url = "{url}"

[stream]
goal = "label"
"""
