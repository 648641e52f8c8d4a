"""A server answers to its own names; metrics also to those that only a private network gives."""

from __future__ import annotations

import http.client
import socket
import time

import pytest

from karma.telemetry import metrics_server
from karma.telemetry.host_header import names_server


@pytest.mark.parametrize(
    ("host", "strict", "private"),
    [
        ("127.0.0.1:9464", True, True),
        ("[::1]:80", True, True),
        ("box", True, True),
        ("BOX:80", True, True),
        ("generation:9464", False, True),
        ("worker-1.karma.svc", False, True),
        ("worker-1.karma.svc.cluster.local:9464", False, True),
        ("box.internal", False, True),
        ("elsewhere.example", False, False),
        ("127.0.0.1.elsewhere.example", False, False),
        ("box.local.elsewhere.example", False, False),
        ("box@elsewhere.example", False, False),
        ("[::1", False, False),
        ("", False, False),
    ],
)
def test_the_names_of_a_server(host: str, strict: bool, private: bool) -> None:
    assert names_server(host, {"box"}) is strict
    assert names_server(host, {"box"}, private=True) is private


@pytest.fixture(scope="module")
def port() -> int:
    return metrics_server.serve(0, "127.0.0.1")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "scoring:9464"}, 200),
        ({"Host": socket.gethostname()}, 200),
        ({"Host": "elsewhere.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
def test_metrics_are_served_to_who_knows_the_server(port: int, headers: dict[str, str], status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, b"karma_build_info" in answer.read()) == (status, status == 200)
    connection.close()


def test_a_scrape_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "_REQUEST_S", 0.3)
    with socket.create_connection(("127.0.0.1", metrics_server.serve(0, "127.0.0.1")), timeout=10) as idle:
        idle.sendall(b"GET /me")
        started = time.monotonic()
        assert idle.recv(100) == b""
        assert time.monotonic() - started < 9
