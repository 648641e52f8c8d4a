"""A small server of OpenAI's files and batches protocol, with slow jobs, partial results, expiry and failed validation.

It notes every request that was in two jobs at once, and every one that was answered twice.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.serving import in_thread


@dataclass
class BatchEndpoint:
    """A running server. Shares are of requests, in [0, 1], drawn at random."""

    takes_s: float = 0.5  # of a job
    expired_share: float = 0.0  # of the requests of a job that expires: without an answer
    failed_share: float = 0.0  # of requests: an error of the server
    expiring: int = 0  # so many of the first jobs expire
    invalid: int = 0  # so many of the first jobs fail their validation
    down: bool = False
    page: int = 3  # most jobs of one page of the list
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    jobs: list[dict[str, Any]] = field(default_factory=list)  # oldest first
    doubled: list[str] = field(default_factory=list)  # requests that were in two live jobs
    answered: Counter[str] = field(default_factory=Counter)  # by the request's content
    tokens: set[str | None] = field(default_factory=set)  # Authorization headers

    def app(self) -> web.Application:
        self._random = random.Random(1)
        self._names: dict[str, set[str]] = {}  # job → its requests
        app = web.Application(client_max_size=256 << 20, middlewares=[self._watch])
        app.router.add_post("/v1/files", self.upload)
        app.router.add_get("/v1/files/{id}/content", self.content)
        app.router.add_post("/v1/batches", self.create)
        app.router.add_get("/v1/batches", self.list)
        app.router.add_get("/v1/batches/{id}", self.show)
        return app

    @web.middleware
    async def _watch(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.tokens.add(request.headers.get("Authorization"))
        if self.down:
            return web.json_response({"error": {"message": "overloaded"}}, status=503)
        return await handler(request)

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        return web.json_response({"id": self._keep(form["file"].file.read()), "object": "file"})  # type: ignore[union-attr]

    def _keep(self, content: bytes) -> str:
        id_ = f"file-{len(self.files)}"
        self.files[id_] = content
        return id_

    async def content(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in self.files:
            return web.json_response({"error": {"message": "no such file"}}, status=404)
        return web.Response(body=self.files[request.match_info["id"]])

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["endpoint"] == "/v1/chat/completions"
        assert asked["completion_window"] == "24h"
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        names = {_content(line["body"]) for line in lines}
        assert len({line["custom_id"] for line in lines}) == len(lines)
        for job in map(self._now, self.jobs):
            if job["status"] == "in_progress":
                self.doubled += sorted(names & self._names[job["id"]])
        job = {
            "id": f"batch_{len(self.jobs)}",
            "object": "batch",
            "status": "in_progress",
            "created_at": int(time.time()),
            "ends_at": time.time() + self.takes_s,
            "input_file_id": asked["input_file_id"],
            "metadata": asked["metadata"],
        }
        self._names[job["id"]] = names
        self.jobs.append(job)
        return web.json_response(job)

    async def list(self, request: web.Request) -> web.Response:
        newest = [self._now(job) for job in reversed(self.jobs)]
        after = request.query.get("after")
        start = next((at + 1 for at, job in enumerate(newest) if job["id"] == after), 0)
        page = newest[start : start + self.page]
        return web.json_response({"object": "list", "data": page, "has_more": start + self.page < len(newest)})

    async def show(self, request: web.Request) -> web.Response:
        found = [job for job in self.jobs if job["id"] == request.match_info["id"]]
        return web.json_response(self._now(found[0]))

    def _now(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job, which is ended if its time has come."""
        if job["status"] != "in_progress" or time.time() < job["ends_at"]:
            return job
        if self.invalid:
            self.invalid -= 1
            job |= {"status": "failed", "errors": {"data": [{"message": "the file is not valid", "line": 1}]}}
            return job
        expires = self.expiring > 0
        self.expiring -= expires
        good, bad = [], []
        for line in map(json.loads, self.files[job["input_file_id"]].splitlines()):
            if expires and self._random.random() < self.expired_share:
                bad.append({"custom_id": line["custom_id"], "response": None, "error": {"code": "batch_expired"}})
            elif self._random.random() < self.failed_share:
                response = {"status_code": 500, "body": {"error": {"message": "the server failed"}}}
                bad.append({"custom_id": line["custom_id"], "response": response, "error": None})
            else:
                self.answered[_content(line["body"])] += 1
                response = {"status_code": 200, "body": _answer(line["body"])}
                good.append({"custom_id": line["custom_id"], "response": response, "error": None})
        self._random.shuffle(good)
        for name, lines in (("output_file_id", good), ("error_file_id", bad)):
            job[name] = self._keep("\n".join(map(json.dumps, lines)).encode()) if lines else None
        job["status"] = "expired" if expires else "completed"
        return job


def _content(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True)


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    if body["model"].startswith("judge"):
        text = "Verdict: A"
    else:
        number = int(hashlib.sha256(_content(body).encode()).hexdigest()[:8], 16)
        text = f"The answer of {body['model']} is {number}."
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {"object": "chat.completion", "choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}


@contextmanager
def serve(**behaviour: Any) -> Iterator[BatchEndpoint]:
    """A server in a thread of this process."""
    endpoint = BatchEndpoint(**behaviour)

    async def start() -> web.AppRunner:
        runner = web.AppRunner(endpoint.app(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    with in_thread(start):
        yield endpoint
