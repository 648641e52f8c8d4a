"""The page is changed by nobody but its owner, answers to no other name, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from karma.store import Store
from karma.store.streams import paused
from karma_monitor.page.app import PAGES
from karma_monitor.page.security import BODY_BYTES
from karma_monitor.page.tokens import VALID_S, Tokens
from tests.support.page import COOKIE, JSON, READ_TOKEN, TOKEN, Page, Stream, serving


@pytest.fixture
def page(store: Store) -> Iterator[Page]:
    with serving(store) as (served, _live):
        yield served


@pytest.mark.parametrize("path", ["/api/requeue", "/api/pause", "/api/resume"])
def test_nothing_is_changed_without_the_token(store: Store, page: Page, path: str) -> None:
    body = {"what": "dead"} if path.endswith("requeue") else {"stream": None}
    for given in ("", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"):
        status, found = page.post(path, body, Authorization=given)
        assert (status, "token" in found["error"]) == (401, True), given
    status, found = page.post(path, body, Authorization=f"Bearer {READ_TOKEN}")
    assert (status, "may only read" in found["error"]) == (403, True)
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


def test_nothing_is_read_without_a_token_but_the_pages_own_files(page: Page) -> None:
    nothing = {"Authorization": ""}
    for path in ("board", "models", "quality", "pairs", "pairs/1", "dead", "failures", "live", "session", "nothing"):
        for given in (nothing, {"Authorization": "Bearer wrong"}, {"Authorization": "", "Cookie": f"{COOKIE}=wrong"}):
            status, found, headers = page.ask(f"/api/{path}", headers=given)
            assert (status, "karma token" in found["error"], headers["WWW-Authenticate"]) == (401, True, "Bearer"), path
    for path in ("/", "/pairs/7", "/static/main.js", "/healthz"):
        assert page.ask(path, headers=nothing)[0] in (200, 503), path  # no Redis is here, so the page is not healthy


def test_a_token_becomes_a_cookie_that_reads_and_with_the_pages_own_origin_changes(page: Page) -> None:
    status, found, headers = page.ask("/api/session", "POST", {}, JSON)
    assert (status, found) == (200, {"scope": "control"})
    kept, *attributes = headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(attributes)
    by_cookie = {"Authorization": "", "Cookie": kept}
    assert page.ask("/api/board", headers=by_cookie)[0] == 200
    assert page.ask("/api/session", headers=by_cookie)[1] == {"scope": "control"}
    for origin, status in (("", 401), ("http://127.0.0.1:1", 403), (page.url, 200)):
        asked = {**JSON, **by_cookie, "Origin": origin}
        assert page.ask("/api/pause", "POST", {"stream": None}, asked)[0] == status, origin


def test_another_site_reads_nothing_even_with_a_token(page: Page) -> None:
    for site in ("cross-site", "same-site"):
        assert page.ask("/api/pairs", headers={"Sec-Fetch-Site": site})[0] == 403
    for site in ("same-origin", "none"):
        assert page.ask("/api/pairs", headers={"Sec-Fetch-Site": site})[0] == 200
    assert page.ask("/pairs", headers={"Sec-Fetch-Site": "cross-site"})[0] == 200  # a link to the page


def test_of_a_token_only_a_hash_is_kept_and_only_its_owner_can_read_that(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    made = [tokens.mint("read"), tokens.mint("read"), tokens.mint("control")]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [tokens.scope_of(token) for token in made] == ["read", "read", "control"]
    assert len(files) == len(set(made)) == 3
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600
        assert not any(token in path.name + path.read_text() for token in made)
        assert tokens.scope_of(path.name) is None


def test_a_token_ends_after_its_time_and_when_all_are_revoked(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    old, new = tokens.mint("read"), tokens.mint("read")
    (path,) = (path for path in tmp_path.rglob("*") if path.name == sha256(old.encode()).hexdigest())
    os.utime(path, (0, time.time() - VALID_S))
    assert (tokens.scope_of(old), tokens.scope_of(new)) == (None, "read")
    assert tokens.revoke() == 2
    assert [tokens.scope_of(token) for token in (old, new, "", "../tokens", "\udc80", "x" * 10_000)] == [None] * 6
