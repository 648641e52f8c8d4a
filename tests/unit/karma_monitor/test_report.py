"""The page: whole in one file, safe whatever models say, useful when empty, readable when large."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from karma.errors import KarmaError
from karma.ranking.snapshot import Snapshot
from karma.store import Store
from karma.store.schema import pairs, resolutions, responses
from karma_monitor.figures.quality import Quality
from karma_monitor.report import compose, write
from tests.support.memory import Flow, make_pool

EVIL = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """The tags of a page, and the addresses in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]


def known(count: int) -> Snapshot:
    """Competencies of so many models in two skills; kinship known between neighbours only."""
    rng = np.random.default_rng(0)
    cold = Snapshot.empty([f"model-{place}" for place in range(count)], ["writing", "math"], deviation=0.3)
    kinship = cold.kinship.copy()
    for place in range(count - 1):
        kinship[:, place, place + 1] = kinship[:, place + 1, place] = 0.5
    return replace(cold, version=3, mean=rng.normal(size=cold.mean.shape), kinship=kinship)


def made(snapshot: Snapshot, course: list = [], quality: Quality | None = None) -> str:  # noqa: B006
    return compose(snapshot, course, quality or Quality(), None, "2026-01-01 00:00 UTC")


def flow_of(store: Store, models: str = "abc") -> Flow:
    flow = Flow(store, make_pool(models))
    flow.accept(*({"prompt": f"{EVIL} {n}", "id": f"{EVIL}{n}"} for n in range(8)))
    flow.finish()
    return flow


@pytest.fixture
def store() -> Store:
    made = Store("sqlite://")
    made.create()
    return made


def test_an_empty_store_gives_a_page_that_says_what_to_do_next(store: Store, tmp_path: Path) -> None:
    write(store, tmp_path / "deep" / "r.html")
    page = (tmp_path / "deep" / "r.html").read_text()
    assert "Nothing was learnt yet: no pair has been judged. Next: karma enqueue FILE" in page
    assert page.count("<section>") == 7
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["r.html"]


def test_nothing_in_a_page_runs_or_comes_from_elsewhere(store: Store, tmp_path: Path) -> None:
    flow_of(store)
    write(store, tmp_path / "r.html")
    found = Tags((tmp_path / "r.html").read_text())
    assert "script" not in found.tags
    assert "svg" in found.tags
    assert not {"link", "iframe", "img", "object", "embed"} & set(found.tags)
    assert found.addresses == []
    assert not re.findall(r"url\((?!#)", (tmp_path / "r.html").read_text())


def test_a_models_name_with_a_script_in_it_is_shown_as_text(store: Store, tmp_path: Path) -> None:
    flow_of(store, "ab")
    with store.transaction() as transaction:
        renamed = update(responses).values(model=EVIL + responses.c.model)
        transaction.ledger.connection.execute(renamed)
    write(store, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;a" in page
    assert "<script" not in page


def test_light_and_dark_follow_the_reader() -> None:
    assert "@media (prefers-color-scheme: dark)" in made(known(3))


def test_each_skill_has_its_ladder_and_its_kinship_with_the_unknown_said() -> None:
    page = made(known(5))
    for skill in ("overall", "writing", "math"):
        assert f"<summary>Competency, {skill}</summary>" in page
        assert f"Kinship, {skill}; models by competency, best first." in page
    assert "model-0 · model-2: unknown" in page or "model-2 · model-0: unknown" in page


def test_two_hundred_models_are_thinned_with_a_sentence() -> None:
    page = made(known(200))
    assert "The picture shows 60 of 200 models, evenly spread over the ladder." in page
    assert "Kinship, overall; models by competency, best first. 40 of 200 models." in page
    assert "model-199" in page
    assert len(page) < 2_000_000


def test_the_course_is_drawn_once_there_are_two_refits() -> None:
    newest = known(3)
    earlier = replace(newest, version=2, mean=newest.mean - 0.5)
    assert "Overall competency over time." in made(newest, [(0.0, 2, earlier), (7200.0, 3, newest)])
    assert "once there are two refits" in made(newest, [(0.0, 3, newest)])


def test_a_budget_shows_its_error_with_an_interval(store: Store, tmp_path: Path) -> None:
    flow_of(store)
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        connection.execute(update(pairs).values(judged_probability=0.2))
        connection.execute(update(resolutions).values(predicted=0.7))
    write(store, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "Audited error of the predicted labels against the share of pairs judged." in page
    assert "<summary>Spending and error</summary>" in page


def test_one_stream_is_reported_alone_and_an_unknown_one_is_an_error(store: Store, tmp_path: Path) -> None:
    flow = flow_of(store)
    flow.accept({"prompt": "other"}, stream="other")
    flow.finish()
    write(store, tmp_path / "r.html", "other")
    assert "1 pair of the stream other." in (tmp_path / "r.html").read_text()
    with pytest.raises(KarmaError, match="'none' holds no pair yet"):
        write(store, tmp_path / "r.html", "none")


def test_a_page_that_cannot_be_written_is_an_error_and_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KarmaError, match="cannot be written"):
        write(store, tmp_path / "file" / "r.html")
