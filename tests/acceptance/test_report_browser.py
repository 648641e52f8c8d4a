"""The report in a real browser, without a network: every section, hostile texts, choices, print, accessibility."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from msgspec.structs import replace
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import func, select, update

from karma.messages import GenerateBatch, JudgeBatch
from karma.store import Store
from karma.store.schema import pairs, resolutions
from karma_monitor.report import write
from karma_scoring.fit.refit import Refitter
from tests.support.browser import chromium, opened
from tests.support.memory import Flow, make_pool
from tests.support.scripting import MARKUP

SECTIONS = {
    "Stream": ["Funnel"],
    "Pair quality": [
        "At a glance",
        "Distributions",
        "Chosen and rejected responses",
        "Longer responses",
        "Policies",
        "Judge budget",
        "Reliability of predicted labels",
        "Position bias",
        "Order flips by gap",
        "Judges",
        "Cost",
    ],
    "Models": [
        "Leaderboard",
        "Ratings over time",
        "Kinship",
        "Wins",
        "Predicted against actual",
        "Reliability of win probabilities",
    ],
    "Endpoints": ["Models", "Judges", "Failed responses", "Failed verdicts", "Unscored pairs"],
}
HOSTILE_STREAM = "hostile<img src=x onerror=alert(1)>"
HOSTILE_SKILL = "<script>alert(2)</script>"

#: Elements and attributes that no view makes, so that they can only come from a text.
FOREIGN = """() => [...document.querySelectorAll("body *")].filter((one) =>
  one.matches("script:not(#data):not([type=module]), style, img, iframe, object, embed, video, audio, base, math")
  || [...one.attributes].some(({name, value}) =>
    name.startsWith("on") || ["src", "action", "srcdoc"].includes(name) || (name === "href" && !/#[a-z]+$/.test(value)))
).map((one) => one.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Two streams and two skills, hostile texts in every field, failures, ties, a judge budget and two refits."""
    made = Store(f"sqlite:///{tmp_path_factory.mktemp('report') / 'karma.db'}")
    made.create()
    flow = Flow(made, make_pool("abc", stream={"judge_share": 0.9}))
    flow.accept(*({"prompt": f"Tell me about {n}.", "id": f"p{n}"} for n in range(60)))
    given = [{"model": text, "text": text} for text in MARKUP[:12]]
    hostile = [
        {"prompt": text, "id": text, "skill": HOSTILE_SKILL, "responses": given[n % 6 : n % 6 + 3]}
        for n, text in enumerate(MARKUP)
    ]
    flow.accept(*hostile, stream=HOSTILE_STREAM)
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            if isinstance(batch, GenerateBatch):
                failed = batch.model == "c" and batch.items[0].prompt % 5 == 0
                flow.handle(flow.answer(batch, failure=f"429: {MARKUP[0]}" if failed else None))
            elif isinstance(batch, JudgeBatch):
                judged = flow.judge(batch)
                items = [
                    replace(one, probability=None, failure=f"no verdict {MARKUP[4]}")
                    if one.pair % 7 == 0
                    else replace(one, probability=0.5)
                    if one.pair % 5 == 0
                    else one
                    for one in judged.items
                ]
                flow.handle(replace(judged, items=tuple(items)))
            else:
                flow.handle(batch)
    with made.transaction() as transaction:
        connection = transaction.ledger.connection
        number = connection.execute(select(func.count()).select_from(pairs)).scalar_one()
        connection.execute(update(pairs).values(judged_probability=0.5))
        connection.execute(update(resolutions).values(predicted=0.7))
        connection.exec_driver_sql("DELETE FROM gates")
        connection.exec_driver_sql(
            "INSERT INTO gates (stream, seen, judged, body) VALUES (?, ?, ?, '{}')",
            ("default", number + 20, number),
        )
    refitter = Refitter(made, flow.pool)
    refitter.refit(1)
    refitter.refit(2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def report(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "report.html"
    write(store, make_pool("abc"), path)
    return path


def open_report(page: Page, path: Path) -> None:
    """Open the file with the network off, and wait for the last view."""
    page.context.set_offline(True)
    page.goto(path.as_uri())
    page.locator("section[aria-label='Unscored pairs'], section[aria-label='Wins']").last.wait_for()


def test_every_section_opens_from_the_file_without_a_network_or_an_error(report: Path, browser: Browser) -> None:
    with opened(browser) as watched:
        asked: list[str] = []
        watched.page.on("request", lambda one: asked.append(one.url))
        open_report(watched.page, report)
        for view, panels in SECTIONS.items():
            section = watched.page.locator(f"#report > section[aria-label='{view}']")
            expect(section.locator("h1")).to_have_text(view)
            shown = section.locator("section.panel").evaluate_all("all => all.map((one) => one.ariaLabel)")
            assert sorted(shown) == sorted(panels)
        assert watched.page.locator(".failed").count() == 0
        assert asked == [report.as_uri()]
        assert watched.wrong == []


def test_a_hostile_text_is_shown_in_the_report_and_does_not_run(report: Path, browser: Browser) -> None:
    with opened(browser) as watched:
        page = watched.page
        open_report(page, report)
        page.get_by_role("combobox", name="Skill").select_option(HOSTILE_SKILL)
        expect(page.locator("section[aria-label='Models'] section.panel").first).to_contain_text(HOSTILE_SKILL)
        page.get_by_role("combobox", name="Stream").select_option(HOSTILE_STREAM)
        expect(page.locator("section[aria-label=Policies] tbody th").first).to_have_text("informative")
        text = page.locator("main").inner_text()
        assert [one for one in MARKUP[:8] if one not in text] == []
        assert page.evaluate(FOREIGN) == []
        assert watched.wrong == []


def test_a_choice_shows_another_skill_and_goes_back(report: Path, browser: Browser) -> None:
    with opened(browser) as watched:
        page = watched.page
        open_report(page, report)
        first = page.locator("section[aria-label=Leaderboard] .intervals tbody th").all_inner_texts()
        page.get_by_role("combobox", name="Skill").select_option(HOSTILE_SKILL)
        expect(page.get_by_role("combobox", name="Skill")).to_have_value(HOSTILE_SKILL)
        page.get_by_role("combobox", name="Skill").select_option("overall")
        expect(page.locator("section[aria-label=Leaderboard] .intervals tbody th")).to_have_text(first)
        assert watched.wrong == []


def test_no_link_of_the_report_leaves_it(report: Path, browser: Browser) -> None:
    with opened(browser) as watched:
        open_report(watched.page, report)
        links = watched.page.locator("a[href]").evaluate_all("all => all.map((one) => one.hash)")
        assert links == ["#stream", "#quality", "#models", "#endpoints"]


def test_one_stream_of_the_report_stands_alone(store: Store, browser: Browser, tmp_path: Path) -> None:
    write(store, None, tmp_path / "one.html", HOSTILE_STREAM)
    with opened(browser) as watched:
        open_report(watched.page, tmp_path / "one.html")
        expect(watched.page.locator("main > p")).to_contain_text(f"of the stream {HOSTILE_STREAM}.")
        shown = watched.page.locator("#report > section h1").all_inner_texts()
        assert shown == ["Pair quality", "Models"]
        assert watched.page.get_by_role("combobox", name="Stream").count() == 0
        assert watched.wrong == []


def test_an_empty_report_says_what_to_do_next(browser: Browser, tmp_path: Path) -> None:
    empty = Store("sqlite://")
    empty.create()
    write(empty, None, tmp_path / "empty.html")
    with opened(browser) as watched:
        open_report(watched.page, tmp_path / "empty.html")
        expect(watched.page.locator("section[aria-label='Pair quality'] code").first).to_have_text("karma enqueue FILE")
        assert watched.wrong == []


def test_the_printed_report_shows_the_figures_behind_each_picture(report: Path, browser: Browser) -> None:
    with opened(browser) as watched:
        page = watched.page
        open_report(page, report)
        assert page.locator("details[open]").count() == 0
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details").count() == page.locator("details[open]").count() > 5
        expect(page.locator("nav")).to_be_hidden()
        assert page.pdf(format="A4").startswith(b"%PDF")
        assert watched.wrong == []


@pytest.mark.parametrize("width", [360, 1024])
def test_the_report_is_no_wider_than_its_window(report: Path, browser: Browser, width: int) -> None:
    with opened(browser, width=width) as watched:
        open_report(watched.page, report)
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_report_has_no_serious_accessibility_violation(report: Path, browser: Browser) -> None:
    with opened(browser) as watched:
        page, found = watched.page, []
        open_report(page, report)
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        page.evaluate(Axe().axe_script)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            for one in page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]:
                if one["impact"] in ("serious", "critical"):
                    found += [f"{scheme}: {one['id']} {node['html'][:200]}" for node in one["nodes"]]
        assert found == []
