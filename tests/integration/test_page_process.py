"""The page as a process of its own: started, stopped, started again, and left out where it cannot listen."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.databases import migrate
from tests.support.instant import POOL
from tests.support.page import Page, Stream
from tests.support.pipeline import Pipeline, wait_until


def test_a_page_that_is_told_to_stop_ends_its_streams_and_itself(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path / "home", POOL, "tests.support.instant")
    migrate(f"sqlite:///{karma.home / 'karma.db'}")
    written = karma.home / "run" / "page.url"
    environment = {**karma.environment, "KARMA_PAGE_PORT": "0"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "karma.run", "page"], env=environment, stderr=log)
    try:
        wait_until(written.exists, 60, "the page is up")
        page = Page.of(karma.home)
        stream = Stream(page)
        wait_until(lambda: stream.ids, 30, "a picture comes")
        assert page.post("/api/pause", {"stream": None})[0] == 200
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert stream.ended.wait(10)
    assert not written.exists()


def test_without_the_redis_that_was_here_the_store_is_shown_all_the_same(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, POOL, "tests.support.instant")
    run = karma.home / "run"
    run.mkdir(parents=True)
    migrate(f"sqlite:///{karma.home / 'karma.db'}")
    (run / "redis.url").write_text("redis://127.0.0.1:1/0")  # of a pipeline that was killed
    environment = {**karma.environment, "KARMA_PAGE_PORT": "0"}
    process = subprocess.Popen([sys.executable, "-m", "karma.run", "page"], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: (run / "page.url").exists() or process.poll() is not None, 60, "the page is up")
        assert Page.of(karma.home).get("/api/board")["queues"] == []
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.mark.ci
def test_where_its_port_is_taken_the_page_is_on_the_next_free_one_and_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        karma = Pipeline(tmp_path, POOL, "tests.support.instant")
        karma.environment["KARMA_PAGE_PORT"] = str(port)
        said = karma.run("up", "--detach").stderr
        try:
            assert f"port {port} is taken: the page is on the next free one" in said
            page = Page.of(tmp_path)
            assert page.get("/healthz") == {"ok": True, "away": []}
        finally:
            karma.run("down")


def test_where_the_page_cannot_listen_the_pipeline_is_up_without_it_and_says_why(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, POOL, "tests.support.instant")
    karma.environment["KARMA_PAGE_HOST"] = "192.0.2.1"  # an address of no machine (RFC 5737)
    said = karma.run("up", "--detach").stderr
    try:
        assert "KARMA_PAGE_HOST" in said
        assert "the page cannot listen on 192.0.2.1" in said
        karma.enqueue([{"prompt": "x"}])
        assert karma.wait_for_end(1)["prompts"]["done"] == 1
    finally:
        karma.run("down")


def test_a_pipeline_serves_the_page_keeps_its_token_out_of_a_pipe_and_starts_it_again(tmp_path: Path) -> None:
    karma = Pipeline(tmp_path, POOL, "tests.support.instant")
    karma.environment["KARMA_PAGE_PORT"] = "0"
    said = karma.run("up", "--detach").stderr
    written = tmp_path / "run" / "page.url"
    try:
        assert (written.read_text() in said, "#token=" in said, "karma token" in said) == (True, False, True)
        url, token = karma.run("token", "--read").stdout.strip().split("#token=")
        assert url == written.read_text()
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or token.encode() not in path.read_bytes(), path
        assert Page(url, token).get("/healthz") == {"ok": True, "away": []}
        assert Page(url, token).post("/api/pause", {"stream": None})[0] == 403
        page = Page.of(tmp_path)
        assert page.get("/healthz") == {"ok": True, "away": []}
        karma.enqueue([{"prompt": f"p{n}"} for n in range(5)])
        karma.wait_for_end(5)
        wait_until(lambda: page.get("/api/board")["outcome"]["preferences"] == 5, 30, "the page shows them")
        picture = page.get("/api/board")
        assert isinstance(picture["redelivered"], int)  # the gateway says so
        (worker,) = [one for one in picture["workers"] if one["service"] == "page"]
        os.kill(worker["pid"], signal.SIGKILL)

        def is_back() -> bool:
            found = [one for one in karma.status()["workers"] if one["service"] == "page" and one["state"] == "ready"]
            return any(one["id"] != worker["id"] for one in found)

        wait_until(is_back, 60, "the page is back")
        again = Page(written.read_text(), page.token)
        assert again.post("/api/pause", {"stream": None})[0] == 200
        assert karma.run("token", "--revoke", "-q").stdout == "2\n"
        assert again.ask("/api/board")[0] == 401
    finally:
        karma.run("down")
    assert not written.exists()
