"""The file with the page's address, which `karma token` reads."""

from __future__ import annotations

import socket
from pathlib import Path

from karma_monitor.page.access import announced, url_path


def test_the_address_is_there_while_the_page_runs(tmp_path: Path) -> None:
    with announced(tmp_path, "http://127.0.0.1:8080/"):
        assert url_path(tmp_path).read_text() == "http://127.0.0.1:8080/"
    assert not url_path(tmp_path).exists()


def test_a_second_page_gives_the_address_back_to_the_first_if_that_still_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        answering = f"http://127.0.0.1:{first.getsockname()[1]}/"
        with announced(tmp_path, answering):
            with announced(tmp_path, "http://127.0.0.1:2/"):
                assert url_path(tmp_path).read_text() == "http://127.0.0.1:2/"
            assert url_path(tmp_path).read_text() == answering
    with announced(tmp_path, answering), announced(tmp_path, "http://127.0.0.1:2/"):
        pass  # the first listens no more
    assert not url_path(tmp_path).exists()


def test_a_first_page_that_ends_before_the_second_leaves_its_address(tmp_path: Path) -> None:
    first, second = (announced(tmp_path, f"http://127.0.0.1:{port}/") for port in (1, 2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert url_path(tmp_path).read_text() == "http://127.0.0.1:2/"
    second.__exit__(None, None, None)
    assert not url_path(tmp_path).exists()
