"""The page is changed by nobody but its owner, answers to no other name, and loads nothing from elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from karma.store import Store
from karma.store.streams import paused
from karma_monitor.page.access import new_token, token_path
from karma_monitor.page.app import PAGES
from karma_monitor.page.security import BODY_BYTES
from tests.support.page import JSON, TOKEN, Page, Stream, serving


@pytest.fixture
def page(store: Store) -> Iterator[Page]:
    with serving(store) as (served, _live):
        yield served


@pytest.mark.parametrize("path", ["/api/requeue", "/api/pause", "/api/resume"])
def test_nothing_is_changed_without_the_token(store: Store, page: Page, path: str) -> None:
    body = {"what": "dead"} if path.endswith("requeue") else {"stream": None}
    for given in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"):
        status, found = page.post(path, body, Authorization=given)
        assert (status, "token" in found["error"]) == (401, True), given
    with store.reading() as transaction:
        assert paused(transaction.ledger.connection) == {}


def test_nothing_is_changed_from_another_page(store: Store, page: Page) -> None:
    for headers in (
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": page.url.replace("http:", "https:")},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        status, _found, _headers = page.ask("/api/pause", "POST", {"stream": None}, {**JSON, **headers})
        assert status == 403, headers
    with store.reading() as transaction:
        assert paused(transaction.ledger.connection) == {}
    mine = {"Origin": page.url, "Sec-Fetch-Site": "same-origin"}
    assert page.ask("/api/pause", "POST", {"stream": None}, {**JSON, **mine})[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:9999", 200),
        ("LOCALHOST", 200),
        ("[::1]:8080", 200),
        ("192.168.1.5:8080", 200),
        (socket.gethostname(), 200),
        ("elsewhere.example", 403),
        ("127.0.0.1.elsewhere.example", 403),
        ("localhost.elsewhere.example:8080", 403),
        ("127.0.0.1@elsewhere.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_the_page_answers_to_no_name_that_may_be_anothers(page: Page, host: str, status: int) -> None:
    for path in ("/api/pairs", "/", "/static/index.html", "/api/nothing"):
        found = page.ask(path, headers={"Host": host})[0]
        assert found == (status if status == 403 or path != "/api/nothing" else 404)


def test_only_json_that_is_short_and_well_formed_is_read(page: Page) -> None:
    assert page.post("/api/pause", {"stream": None}, Content_Type="text/plain")[0] == 415
    assert page.post("/api/pause", {"stream": None}, Content_Type="")[0] == 415
    assert page.post("/api/pause", {"stream": "x" * BODY_BYTES})[0] == 413
    for body in (b"{", b"[]", {"stream": ""}, {"stream": 1}, {"stream": None, "more": 1}, {"stream": "a\0"}):
        status, found = page.post("/api/pause", body)
        assert (status, isinstance(found["error"], str)) == (422, True), body
    assert page.post("/api/requeue", {"what": "everything"})[0] == 422
    assert page.ask("/api/pairs?limit=0")[0] == 422
    assert page.ask("/api/pairs?before=x")[0] == 422
    assert page.ask("/api/pairs?text=%00")[0] == 422
    assert page.ask(f"/api/pairs/{10**30}")[0] == 422


def test_every_answer_forbids_what_the_page_does_not_need(store: Store, page: Page) -> None:
    stream = Stream(page)
    answers = [
        page.ask("/")[2],
        page.ask("/static/index.html")[2],
        page.ask("/api/board")[2],
        page.ask("/api/nothing")[2],
        page.ask("/api/pause", "POST", {}, {})[2],
        page.ask("/api/pause", "POST", {"stream": "x" * BODY_BYTES}, JSON)[2],
        page.ask("/", headers={"Host": "elsewhere.example"})[2],
        stream.headers,
    ]
    stream.close()
    for headers in answers:
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "*" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in headers
        assert headers["Cache-Control"] in ("no-store", "no-cache")


def test_the_page_is_at_each_of_its_addresses_and_nothing_else_is(page: Page) -> None:
    for address in PAGES:
        status, found, headers = page.ask(address.replace("{pair:int}", "7"))
        assert (status, b"<html" in found.lower()) == (200, True)
        assert headers["Content-Type"].startswith("text/html")
    for path in (
        "/docs",
        "/redoc",
        "/openapi.json",
        "/pairs/x",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/metrics",
    ):
        assert page.ask(path)[0] == 404, path


def test_the_token_is_new_each_time_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    tokens = {new_token(tmp_path) for _time in range(3)}
    assert len(tokens) == 3
    assert token_path(tmp_path).stat().st_mode & 0o777 == 0o600
    assert token_path(tmp_path).read_text() in tokens
