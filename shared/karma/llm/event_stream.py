"""Reads the body of a response: JSON, or server-sent events, which some proxies send although nobody asked for them."""

from __future__ import annotations

import json
from typing import Any

from karma.llm.lenient_json import after_comments, decode
from karma.llm.message_text import refusal_in, text_and_reasoning

_FIELDS = (b"data:", b"event:", b"id:", b"retry:")


def decoded(body: bytes) -> Any:
    """The value in a body, as `decode` reads it; of events the completion that they add up to."""
    body = after_comments(body)
    if body.startswith(_FIELDS):
        return _joined(body)
    value = decode(body)
    is_piece = isinstance(value, dict) and value.get("object") == "chat.completion.chunk"
    return _joined(body) if is_piece else value


def in_one_piece(body: bytes) -> bytes:
    """The body with the texts of its events joined, as JSON; any other body as it is.

    A key that an endpoint repeats may be spread over several events.
    """
    if not after_comments(body).startswith(_FIELDS):
        return body
    joined = _joined(after_comments(body))
    return body if joined is None else json.dumps(joined).encode()


def _joined(body: bytes) -> dict[str, Any] | None:
    """The completion of events; an error if they broke off; None if none of them is JSON."""
    events, is_done = _events(body)
    if not events:
        return None
    whole: dict[str, Any] = {}
    message, choice = _Message(), {"index": 0, "finish_reason": None}
    has_choice = False
    for event in events:
        whole |= {name: value for name, value in event.items() if name != "choices" and value is not None}
        for each in event["choices"] if isinstance(event.get("choices"), list) else ():
            if isinstance(each, dict) and each.get("index") in (None, 0):
                has_choice = True
                if isinstance(each.get("message"), dict) and not each.get("delta"):  # whole: nothing is added to it
                    message = _Message()
                message.add(each.get("delta") or each.get("message"), each.get("logprobs"))
                named = ("finish_reason", "native_finish_reason", "error")
                choice |= {name: each[name] for name in named if each.get(name) is not None}
    if not has_choice:
        return whole
    if choice["finish_reason"] is None and not is_done and not whole.get("error"):
        whole["error"] = {"code": 502, "message": "the events of an answer ended before it did"}
    logprobs = {"content": message.logprobs} if message.logprobs else None
    return {**whole, "choices": [{**choice, "message": message.whole(), "logprobs": logprobs}]}


def _events(body: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The objects in the data of events, or in lines, and whether the last data says that nothing follows."""
    events, is_done = [], False
    for line in (line.removeprefix(b"data:").strip() for line in body.splitlines()):
        is_done = is_done or line == b"[DONE]"
        value = decode(line) if line.startswith(b"{") else None
        if isinstance(value, dict):
            events.append(value)
    return events, is_done


class _Message:
    """A message that grows by pieces."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._refusals: list[str] = []
        self.logprobs: list[Any] = []

    def add(self, piece: Any, logprobs: Any) -> None:
        """Add a piece."""
        if isinstance(piece, dict):
            text, reasoning = text_and_reasoning(piece, between="")
            self._texts.append(text)
            self._reasoning.append(reasoning or "")
            self._refusals.append(refusal_in(piece))
        content = logprobs.get("content") if isinstance(logprobs, dict) else None
        self.logprobs += content if isinstance(content, list) else []

    def whole(self) -> dict[str, str]:
        """The message."""
        return {
            "content": "".join(self._texts),
            "reasoning_content": "".join(self._reasoning),
            "refusal": "".join(self._refusals),
        }
