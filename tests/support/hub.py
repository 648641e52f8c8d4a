"""A stub of the Hugging Face hub's endpoints that an upload of a folder calls: it keeps what is committed."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hub:
    """The state of the stub."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)  # path → content
    made: list[dict[str, Any]] = field(default_factory=list)  # repositories
    tokens: set[str] = field(default_factory=set)
    refuses: bool = False
    called: list[str] = field(default_factory=list)


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

        def _answer(self, value: Any, status: int = 200) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            hub.called.append(f"GET {self.path}")
            if "/tree/" in self.path:
                self._answer([{"type": "file", "path": path, "size": 1, "oid": "0" * 40} for path in hub.files])
            else:
                siblings = [{"rfilename": path} for path in hub.files]
                self._answer({"id": "me/data", "sha": "0" * 40, "siblings": siblings, "tags": []})

        def do_POST(self) -> None:
            hub.called.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.tokens.add(self.headers.get("Authorization", ""))
            if hub.refuses:
                self._answer({"error": "You may not write here"}, 403)
            elif self.path == "/api/repos/create":
                hub.made.append(json.loads(body))
                self._answer({"url": f"{hub.url}/datasets/me/data"})
            elif "/preupload/" in self.path:
                asked = json.loads(body)["files"]
                self._answer(
                    {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]}
                )
            elif "/commit/" in self.path:
                for line in body.splitlines():
                    entry = json.loads(line)
                    value = entry["value"]
                    if entry["key"] == "file":
                        hub.files[value["path"]] = base64.b64decode(value["content"])
                    elif entry["key"] == "deletedFile":
                        del hub.files[value["path"]]
                self._answer({"commitUrl": f"{hub.url}/datasets/me/data/commit/1", "commitOid": "1" * 40})
            else:
                self._answer({"errors": [], "warnings": []})  # of the card's head

    return Handler


@contextmanager
def stub_hub() -> Iterator[Hub]:
    """A hub on this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
