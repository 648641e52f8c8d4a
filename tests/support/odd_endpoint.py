"""A small OpenAI-compatible server that is wrong in the way that the model's name says; `good` and `judge` are right.

Under `/v1` it is the API, and lists its models; any other path is unknown.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

Reply = tuple[int, dict[str, str], Any]

_moods = count()
_numbers = count()


def completion(text: str | None, finish: str = "stop", tokens_in: int = 12, **more: Any) -> Reply:
    """An answer in the usual form."""
    message = {"role": "assistant", "content": text, **more.pop("message", {})}
    choice = {"index": 0, "finish_reason": finish, "message": message, **more}
    usage = {"prompt_tokens": tokens_in, "completion_tokens": 5}
    return 200, {}, {"choices": [choice], "usage": usage}


def error(status: int, message: str, code: str = "", **more: Any) -> Reply:
    """A refusal in OpenAI's form."""
    return status, {}, {"error": {"message": message, "code": code, "type": code, **more}}


def good(body: dict[str, Any]) -> Reply:
    """An answer that differs each time, with log-probabilities where they are asked for, and with limits."""
    more: dict[str, Any] = {}
    if body.get("logprobs"):
        first = {"token": "cat", "logprob": -0.1}
        more["logprobs"] = {"content": [{**first, "top_logprobs": [first]}]}
    status, _headers, said = completion(f"cat, dog, cow, bee, animal number {next(_numbers)}", **more)
    return status, {"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499"}, said


def judge(body: dict[str, Any]) -> Reply:
    """A verdict for the first response."""
    if body.get("logprobs"):
        first = {"token": "A", "logprob": -0.1}
        return completion("A", logprobs={"content": [{**first, "top_logprobs": [first]}]})
    return completion("One is right.\nVerdict: A")


def _cut(body: dict[str, Any]) -> Reply:
    """A judge with a context of 512 tokens."""
    words = len(body["messages"][-1]["content"].split())
    return completion("Verdict: A", tokens_in=min(words, 512))


def _refusing(field: str) -> Callable[[dict[str, Any]], Reply]:
    def reply(body: dict[str, Any]) -> Reply:
        if field in body:
            return error(400, f"Unsupported parameter: '{field}' is not supported with this model.", param=field)
        return good(body)

    return reply


def _keyed(key: str) -> Callable[..., Reply]:
    return lambda body, given="": good(body) if given == f"Bearer {key}" else error(401, "Incorrect API key provided")


def _slow(body: dict[str, Any]) -> Reply:
    """An answer later than anybody waits for; nothing ends the wait."""
    threading.Event().wait(2.0)
    return good(body)


def _moody(body: dict[str, Any]) -> Reply:
    """Every other call fails for no reason that it gives."""
    return error(500, "something went wrong") if next(_moods) % 2 == 0 else good(body)


#: What each model answers, by its name.
BEHAVIOR: dict[str, Callable[..., Reply]] = {
    "good": good,
    "judge": judge,
    "locked": _keyed("right"),
    "spent": lambda _b: error(429, "You exceeded your current quota.", "insufficient_quota"),
    "busy": lambda _b: (429, {"Retry-After": "7"}, {"error": {"message": "slow down"}}),
    "moved": lambda _b: (307, {"Location": "http://127.0.0.1:1/v1/chat/completions"}, ""),
    "page": lambda _b: (200, {"Content-Type": "text/html"}, "<!DOCTYPE html><html><title>Welcome</title></html>"),
    "hidden-error": lambda _b: (200, {}, {"error": {"message": "upstream is overloaded"}}),
    "other-form": lambda _b: (200, {}, {"result": "hello"}),
    "silent": lambda _b: completion(""),
    "thinking": lambda _b: completion(None, "length", message={"reasoning_content": "Let me see"}),
    "short": lambda _b: completion("cat, dog, and then", "length"),
    "broken": lambda _b: error(500, "CUDA out of memory"),
    "barred": lambda _b: error(403, "This key may not use this model"),
    "tiny": lambda _b: error(400, "This model's maximum context length is 8 tokens", "context_length_exceeded"),
    "filtering": lambda _b: completion("", "content_filter"),
    "picky": lambda _b: error(400, "Invalid value for 'messages'"),
    "cold": _refusing("temperature"),
    "seedless": _refusing("seed"),
    "frozen": lambda _b: completion("cat, dog, cow, bee, fox"),
    "vague-judge": lambda _b: completion("Both have their merits, I would say."),
    "wrong-judge": lambda _b: completion("Verdict: B"),
    "cut-judge": _cut,
    "deaf-judge": lambda _b: completion("A"),
    "slow": _slow,
    "moody": _moody,
    "closing": lambda _b: (0, {}, ""),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    calls: Counter[str]

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            self._send((404, {}, {"error": "no such path"}))
        else:
            self._send((200, {}, {"data": [{"id": name} for name in BEHAVIOR]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self._send((404, {}, {"error": "no such path"}))
            return
        name = body["model"]
        self.calls[name] += 1
        if name not in BEHAVIOR:
            self._send(error(500, "the router has no such worker"))
        elif name == "locked":
            self._send(BEHAVIOR[name](body, self.headers.get("Authorization", "")))
        else:
            self._send(BEHAVIOR[name](body))

    def _send(self, reply: Reply) -> None:
        status, headers, said = reply
        if status == 0:
            self.close_connection = True
            return
        data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing is logged."""


@contextmanager
def serve_odd() -> Iterator[tuple[int, Counter[str]]]:
    """A running server: its port, and the calls that it read by model."""
    calls: Counter[str] = Counter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Own", (_Handler,), {"calls": calls}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], calls
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
