"""The report: one file that holds its page and its data, safe whatever models say, useful when empty."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from karma.errors import KarmaError
from karma.store import Store
from karma.store.schema import pairs, resolutions, responses
from karma_monitor.page.frozen import STATIC, bundle, embedded, frozen
from karma_monitor.report import write
from karma_scoring.fit.refit import Refitter
from tests.support.memory import Flow, make_pool
from tests.support.scripting import PAYLOADS
from tests.support.stores import memory

EVIL = "<script>alert(1)</script>"


class Parsed(HTMLParser):
    """What a browser makes of the file: its tags, its addresses, and the contents of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.contents: dict[str, str] = {}
        self.policy = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        self._inside = given.get("type") or tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.contents[self._inside] = self.contents.get(self._inside, "") + data


def flow_of(store: Store, models: str = "abc") -> Flow:
    flow = Flow(store, make_pool(models))
    flow.accept(*({"prompt": f"{EVIL} {n}", "id": f"{EVIL}{n}", "skill": "talk"} for n in range(8)))
    flow.finish()
    return flow


def report(store: Store, path: Path, stream: str | None = None) -> Any:
    """The data of a written report."""
    write(store, make_pool(), path, stream)
    return json.loads(Parsed(path.read_text()).contents["application/json"])


@pytest.fixture
def store() -> Store:
    made = memory()
    return made


def test_an_empty_store_gives_a_report_and_no_other_file(store: Store, tmp_path: Path) -> None:
    data = report(store, tmp_path / "deep" / "r.html")
    assert (data["pairs"], data["answers"]["/api/models"]["overall"]["models"]) == (0, [])
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["r.html"]


def test_a_report_runs_its_own_script_and_loads_nothing(store: Store, tmp_path: Path) -> None:
    flow_of(store)
    write(store, None, tmp_path / "r.html")
    found = Parsed((tmp_path / "r.html").read_text())
    assert found.tags.count("script") == 2
    assert not {"link", "iframe", "img", "object", "embed", "svg"} & set(found.tags)
    assert found.addresses == []
    assert not re.findall(r"url\(", found.contents["style"])
    hashes = {
        name: f"'sha256-{base64.b64encode(hashlib.sha256(found.contents[name].encode()).digest()).decode()}'"
        for name in ("module", "style")
    }
    assert found.policy == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src {hashes['module']}; style-src {hashes['style']}"
    )


def test_no_text_of_the_data_ends_its_element(store: Store, tmp_path: Path) -> None:
    hostile = [*PAYLOADS, "</script><script>alert(1)</script>", "<!--<script>", "\u2028\u2029\x00\ud800", "__proto__"]
    written = embedded({text: text for text in hostile})
    assert not re.search(r"[<>&\u2028\u2029]|[^\x20-\x7e]", written)
    assert json.loads(written) == {text: text for text in hostile}
    assert "<title>&lt;b&gt;\\x1b</title>" in frozen("<b>\x1b", {})


def test_a_models_name_with_a_script_in_it_stays_data(store: Store, tmp_path: Path) -> None:
    flow = flow_of(store, "ab")
    with store.transaction() as transaction:
        transaction.ledger.connection.execute(update(responses).values(model=EVIL + responses.c.model))
    Refitter(store, flow.pool).refit(1)
    data = report(store, tmp_path / "r.html")
    assert EVIL + "a" in data["answers"]["/api/models"]["overall"]["wins"]["names"]
    assert "<script>alert" not in (tmp_path / "r.html").read_text()


def test_every_skill_has_its_ratings_and_wins_overall_are_counted_over_all_pairs(store: Store, tmp_path: Path) -> None:
    flow = flow_of(store)
    Refitter(store, flow.pool).refit(1)
    models = report(store, tmp_path / "r.html")["answers"]["/api/models"]
    assert sorted(models) == ["overall", "talk"]
    assert sorted(one["model"] for one in models["talk"]["models"]) == ["a", "b", "c"]
    wins = models["overall"]["wins"]
    assert (wins["is_of_report"], sum(map(sum, wins["counts"]))) == (True, 2 * 8)
    for row, counts in enumerate(wins["counts"]):
        for column, count in enumerate(counts):
            won, lost = wins["cells"][row][column], wins["cells"][column][row]
            assert won + lost == 1.0 if count else won is lost is None


def test_figures_over_all_pairs_stand_beside_those_of_the_window(store: Store, tmp_path: Path) -> None:
    flow_of(store)
    (quality,) = report(store, tmp_path / "r.html")["answers"]["/api/quality"].values()
    (policy,) = quality["all"]["policies"]
    assert (policy["name"], policy["pairs"], policy["judge_calls"]) == ("default: informative", 8, 16)
    (judge,) = quality["all"]["first_position"]
    assert (judge["judge"], judge["n"], judge["share"]) == ("j", 16, 0.5)
    assert len(quality["all"]["length"]) == len(quality["all"]["length_predicted"]) == len(quality["length"])


def test_a_budget_shows_its_error_with_an_interval(store: Store, tmp_path: Path) -> None:
    flow = flow_of(store)
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        connection.execute(update(pairs).values(judged_probability=0.2))
        connection.execute(update(resolutions).values(predicted=0.7))
        connection.exec_driver_sql("INSERT INTO gates (stream, seen, judged, body) VALUES ('default', 20, 8, '{}')")
    Refitter(store, flow.pool).refit(1)
    (gate,) = report(store, tmp_path / "r.html")["answers"]["/api/quality"][""]["gate"]
    assert (gate["stream"], gate["pairs"], gate["judged_share"]) == ("default", 20, 0.4)
    assert gate["label_error"]["low"] < gate["label_error"]["estimate"] < gate["label_error"]["high"]


def test_one_stream_is_reported_alone_and_an_unknown_one_is_an_error(store: Store, tmp_path: Path) -> None:
    flow = flow_of(store)
    flow.accept({"prompt": "other"}, stream="other")
    flow.finish()
    every = report(store, tmp_path / "r.html")
    assert sorted(every["answers"]["/api/quality"]) == ["", "default", "other"]
    assert [one["pairs"] for one in every["answers"]["/api/quality"]["other"]["all"]["policies"]] == [1]
    alone = report(store, tmp_path / "r.html", "other")
    assert (alone["pairs"], alone["stream"], sorted(alone["picture"])) == (1, "other", ["streams"])
    assert sorted(alone["answers"]["/api/quality"]) == ["other"]
    with pytest.raises(KarmaError, match="'none' has no pair yet"):
        write(store, None, tmp_path / "r.html", "none")


def test_a_report_says_nothing_of_the_machine_that_made_it(tmp_path: Path) -> None:
    kept = Store(f"sqlite:///{tmp_path / 'karma.db'}")
    kept.create()
    flow_of(kept)
    write(kept, None, tmp_path / "r.html")
    kept.close()
    assert str(tmp_path) not in (tmp_path / "r.html").read_text()


def test_a_report_that_cannot_be_written_is_an_error_and_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KarmaError, match="cannot be written"):
        write(store, None, tmp_path / "file" / "r.html")


def test_modules_are_bundled_once_each_after_those_that_they_import(tmp_path: Path) -> None:
    script = bundle(STATIC / "report.js")
    names = re.findall(r'^modules\["([^"]+)"\] = ', script, re.MULTILINE)
    assert len(names) == len(set(names))
    assert names[-1] == "report.js"
    for name in names:
        for imported in re.findall(r'from "([^"]+)";', (STATIC / name).read_text()):
            needed = ((STATIC / name).parent / imported).resolve().relative_to(STATIC.resolve()).as_posix()
            assert names.index(needed) < names.index(name)
    assert not re.search(r"^(import|export) ", re.sub(r"/\*.*?\*/", "", script, flags=re.DOTALL), re.MULTILINE)
    assert "</" not in script
    assert "<!--" not in script


def test_modules_that_import_each_other_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("karma_monitor.page.frozen.STATIC", tmp_path)
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nexport const a = b;\n')
    (tmp_path / "b.js").write_text('import { a } from "./a.js";\nexport const b = a;\n')
    with pytest.raises(ValueError, match=r"a\.js imports itself"):
        bundle(tmp_path / "a.js")
