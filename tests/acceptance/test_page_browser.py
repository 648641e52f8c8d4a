"""The page in a real browser, over a real run: every view, live figures, one pair, hostile texts, accessibility."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from karma.store import Store
from karma_monitor.page.tokens import Tokens, link
from tests.support.browser import Watched, chromium, opened
from tests.support.databases import migrate
from tests.support.endpoint import Behaviour, Endpoint, pool, serve
from tests.support.page import Page as Client
from tests.support.pipeline import Pipeline, wait_until
from tests.support.scripting import MARKUP, PAYLOADS

PLAIN = 40
MORE = 30
VIEWS = {
    "/": "Stream",
    "/quality": "Pair quality",
    "/models": "Models",
    "/endpoints": "Endpoints",
    "/pairs": "Pairs",
    "/dead": "Dead prompts",
}
#: What a view shows once it has what it asked for.
READY = {
    "/": "section[aria-label='Models']",
    "/quality": "section[aria-label='Distributions'], p.empty",
    "/models": "section[aria-label='Leaderboard']",
    "/endpoints": "section[aria-label='Unscored pairs']",
    "/pairs": "table, p.empty",
    "/dead": "section[aria-label='Unscored pairs']",
}
#: What is lost and found by its text alone.
NEEDLE = "Tell me about the needle <script>alert(1)</script><img src=x onerror=alert(1)> \x1b[31mred\x1b[0m."

HOSTILE_STREAM = "hostile<img src=x onerror=alert(1)>"

LIMITS = "[pipeline]\nrefit_every_s = 0.5\n"


@dataclass
class Site:
    """A running page: where it is and what opens it."""

    home: Path
    pipeline: Pipeline
    elsewhere: str = ""  # a page of another origin

    def ask(self, path: str) -> Any:
        """The JSON of an address."""
        return self.client.get(path)

    @property
    def url(self) -> str:
        return (self.home / "run" / "page.url").read_text().strip().rstrip("/")

    @cached_property
    def client(self) -> Client:
        return Client.of(self.home)

    @cached_property
    def reading(self) -> str:
        return Tokens(self.home).mint("read")

    def link(self, path: str) -> str:
        """An address that opens a view with a token that may only read."""
        return link(self.url + path, self.reading)


def echoing(endpoint: Endpoint) -> None:
    """Let models and judge repeat what they were asked, before what they say anyway."""
    plain = endpoint.answer

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        made = plain(body)
        message = made["choices"][0]["message"]
        asked = body["messages"][-1]["content"]
        quoted = "\n".join(line for line in asked.splitlines() if "==" not in line and "Verdict" not in line)
        message["content"] = f"{quoted[-400:]}\n{message['content']}"
        return made

    endpoint.answer = answer  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Site]:
    """A run with plain prompts, hostile ones in every field that takes a text, and one dead prompt."""
    home = tmp_path_factory.mktemp("page")
    with serve(Behaviour(latency_ms=5, ties=0.1, unparsable=0.05, seed=3)) as endpoint:
        echoing(endpoint)
        pipeline = Pipeline(home, LIMITS + pool(endpoint.url))
        pipeline.environment["KARMA_PAGE_PORT"] = "0"
        with pipeline.up(page=True):
            wait_until(lambda: (home / "run" / "page.url").exists(), 30, "the page is up")
            plain = [{"prompt": f"Tell me about {n}.", "id": f"p{n}"} for n in range(PLAIN)]
            pipeline.enqueue([*plain, {"prompt": NEEDLE, "id": "needle"}])
            hostile = [{"prompt": text, "id": text, "skill": text[:60]} for text in PAYLOADS]
            given = [
                {"prompt": f"given {n}", "responses": [{"model": text, "text": text} for text in PAYLOADS[n : n + 2]]}
                for n in range(0, 20, 2)
            ]
            pipeline.enqueue([*hostile, *given], "--stream", HOSTILE_STREAM)
            made = Site(home, pipeline, f"{endpoint.url}/models")
            wait_until(
                lambda: ended(made) == PLAIN + 1 + len(hostile) + len(given), 120, f"all ended\n{pipeline.logs()}"
            )
            dead_letter(pipeline)
            yield made


def ended(site: Site) -> int:
    """Prompts that have ended."""
    states = site.ask("/api/board")["states"]
    return int(states["done"] + states["dead"])


def dead_letter(pipeline: Pipeline) -> None:
    """Give a prompt up as the pipeline does with one that kills its workers, for a reason that is hostile too."""
    store = Store(f"sqlite:///{pipeline.home / 'karma.db'}")
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        number = connection.exec_driver_sql("SELECT id FROM prompts WHERE prompt_id = 'p0'").scalar_one()
        transaction.ledger.dead_letter(number, f"given up after 3 attempts: {PAYLOADS[0]} {PAYLOADS[4]}")
    store.close()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    with opened(browser) as page:
        yield page


def open_view(page: Page, site: Site, path: str) -> None:
    """Open a view and wait until it shows what it has."""
    page.goto(site.link(path))
    expect(page.locator("#badge")).to_have_text("live")
    wait_for_view(page, path.partition("?")[0])


def turn_to(page: Page, path: str) -> None:
    """Go to another view as a reader does."""
    page.click(f"nav a[href='{path}']")
    wait_for_view(page, path)


def wait_for_view(page: Page, path: str) -> None:
    """The title first: the view before may hold what this one is waited for by."""
    page.locator("h1", has_text=re.compile(f"^{VIEWS[path]}$")).wait_for()
    page.locator(READY[path]).first.wait_for()


def test_every_view_opens_during_a_run_without_an_error(site: Site, watched: Watched) -> None:
    for path in VIEWS:
        open_view(watched.page, site, path)
        expect(watched.page.locator("nav a[aria-current=page]")).to_have_count(1)
    assert watched.wrong == []


def test_views_are_changed_without_loading_the_page_anew(site: Site, watched: Watched) -> None:
    page = watched.page
    open_view(page, site, "/")
    page.evaluate("window.kept = true")
    for path in [*VIEWS][1:]:
        turn_to(page, path)
        assert page.url == site.url + path
    page.go_back()
    expect(page.locator("h1")).to_have_text("Pairs")
    assert page.evaluate("window.kept") is True
    assert watched.wrong == []


def test_whoever_uses_the_keyboard_keeps_their_place(site: Site, watched: Watched) -> None:
    page = watched.page
    open_view(page, site, "/quality")
    page.get_by_label("Stream").focus()
    page.get_by_label("Stream").select_option(HOSTILE_STREAM)
    page.wait_for_url("**/quality?stream=*")
    expect(page.get_by_label("Stream")).to_have_value(HOSTILE_STREAM)
    expect(page.get_by_label("Stream")).to_be_focused()
    page.evaluate("document.querySelector('#view h1').dataset.kept = ''")
    page.locator("a.skip").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**#view")
    page.go_back()
    page.wait_for_url(lambda url: "#" not in url)
    expect(page.locator("#view h1[data-kept]")).to_have_count(1)
    assert watched.wrong == []


def test_live_figures_change_as_prompts_end(site: Site, watched: Watched) -> None:
    page = watched.page
    open_view(page, site, "/")
    prompts = page.locator(".funnel li", has_text="prompts").locator(":scope > .figure").first
    before = int(prompts.inner_text().replace(",", ""))
    done = ended(site)
    site.pipeline.enqueue([{"prompt": f"More about {n}.", "id": f"more{n}"} for n in range(MORE)])
    expect(prompts).to_have_text(str(before + MORE))
    wait_until(lambda: ended(site) == done + MORE, 60, "the others have ended too")
    page.click("text=Rates as a table")
    rates = page.locator("section[aria-label='Rates'] tbody tr")
    expect(rates.nth(2)).to_be_visible()
    assert watched.wrong == []


def test_a_pair_is_found_by_a_filter_and_opened_by_its_link(site: Site, browser: Browser, watched: Watched) -> None:
    page = watched.page
    open_view(page, site, "/pairs")
    page.get_by_label("Text", exact=True).fill("the needle")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "text=the+needle" in page.url
    page.locator("tbody tr a").click()
    expect(page.locator("h1")).to_have_text(re.compile(r"^Pair \d+$"))
    address, title = page.url, page.locator("h1").inner_text()
    with opened(browser) as elsewhere:
        elsewhere.page.goto(f"{address}#token={site.reading}")
        expect(elsewhere.page.locator("h1")).to_have_text(title)
        expect(elsewhere.page.locator(".message .said").first).to_contain_text("Tell me about the needle")
        assert elsewhere.wrong == []
    assert watched.wrong == []


def test_markup_and_escape_codes_in_a_response_are_shown_as_text(site: Site, watched: Watched) -> None:
    page = watched.page
    open_view(page, site, "/pairs?text=the+needle")
    page.locator("tbody tr a").click()
    for text in ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", r"\x1b[31mred\x1b[0m"):
        expect(page.locator(".side .said").nth(0)).to_contain_text(text)
        expect(page.locator(".side .said").nth(1)).to_contain_text(text)
    assert "\x1b" not in page.content()
    assert watched.wrong == []


def test_models_are_hidden_until_they_are_revealed(site: Site, watched: Watched) -> None:
    page = watched.page
    open_view(page, site, "/pairs?outcome=decisive&stream=default")
    page.locator("tbody tr a").first.click()
    sides = page.locator(".sides")
    expect(sides).to_contain_text("model hidden")
    assert not re.search(r"\b(red|blue)\b", page.locator(".side header").all_inner_texts().__str__())
    page.keyboard.press("r")
    expect(sides).not_to_contain_text("model hidden")
    shown = page.locator(".side header strong").all_inner_texts()
    assert sorted(shown) == ["blue", "red"]
    expect(page.locator(".reasons li").first).to_be_visible()


def test_keys_move_between_pairs_and_change_how_one_is_shown(site: Site, watched: Watched) -> None:
    page = watched.page
    open_view(page, site, "/pairs?outcome=decisive&stream=default")
    listed = page.locator("tbody tr a").all_inner_texts()
    page.locator("tbody tr a").first.click()
    heading = page.locator("h1")
    expect(heading).to_have_text(f"Pair {listed[0]}")
    expect(page.locator(".side").first).to_be_visible()
    page.keyboard.press("j")
    expect(heading).to_have_text(f"Pair {listed[1]}")
    expect(page.locator(".side").first).to_be_visible()
    page.keyboard.press("k")
    expect(heading).to_have_text(f"Pair {listed[0]}")
    names = page.locator(".side h2")
    expect(names.first).to_contain_text("Response a")
    page.keyboard.press("x")
    expect(names.first).to_contain_text("Response b")
    page.keyboard.press("c")
    expect(names.first).to_contain_text("Rejected")
    page.keyboard.press("x")
    expect(names.first).to_contain_text("Chosen")
    expect(page.locator("mark.own")).to_have_count(0)
    page.keyboard.press("d")
    expect(page.locator("mark.own").first).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("swap sides")
    assert watched.wrong == []


#: Elements and attributes that no view makes, so that they can only come from a text.
FOREIGN = """() => [...document.querySelectorAll("*")].filter((one) =>
  one.matches("script:not([src^='/static/']), style, img, iframe, object, embed, video, audio, base, math, marquee")
  || [...one.attributes].some(({name, value}) =>
    name.startsWith("on") || (["href", "src", "action", "srcdoc"].includes(name) && !/^[/#]/.test(value)))
).map((one) => one.outerHTML.slice(0, 200))"""


def test_no_payload_runs_in_any_view(site: Site, watched: Watched) -> None:
    page = watched.page
    filtered = f"?stream={HOSTILE_STREAM}".replace("<", "%3C").replace(">", "%3E").replace(" ", "%20")
    open_view(page, site, f"/quality{filtered}")
    assert page.evaluate(FOREIGN) == []
    for path in VIEWS:
        turn_to(page, path)
        assert page.evaluate(FOREIGN) == []
    open_view(page, site, f"/pairs{filtered}")
    page.get_by_label("Reveal model names").check()
    page.locator("tbody tr a").first.click()
    expect(page.locator("h1")).to_have_text(re.compile(r"^Pair \d+$"))
    seen = ""
    for _ in range(len(PAYLOADS) + 9):
        heading = page.locator("h1").inner_text()
        page.locator("section[aria-label='Reasons']").wait_for()
        page.keyboard.press("d")
        page.locator(".toolbar [aria-pressed=true]", has_text="Differences").wait_for()
        assert page.evaluate(FOREIGN) == []
        seen += page.locator("main").inner_text()
        page.keyboard.press("j")
        page.wait_for_function("before => document.querySelector('h1').textContent !== before", arg=heading)
    missed = [text for text in MARKUP if text not in seen]
    assert missed == []
    assert watched.wrong == []


def test_the_payloads_run_where_nothing_guards(watched: Watched) -> None:
    """The corpus is no dummy: as markup, in a page without the policy, most of it runs."""
    page = watched.page
    page.set_default_timeout(2_000)
    fired = lambda: {said for said in watched.wrong if re.fullmatch(r"dialog: \d+", said)}  # noqa: E731

    def run_all() -> bool:
        for text in MARKUP:  # each soon gives way to the next: on a busy machine some need another go
            page.set_content(text, wait_until="commit")
        return len(fired()) >= 25

    wait_until(run_all, 30, f"25 payloads run; these did: {fired()}")


def test_no_view_has_a_serious_accessibility_violation(site: Site, watched: Watched) -> None:
    """By axe-core: everything in the light, and once more the contrast in the dark."""
    page, found = watched.page, []
    page.goto(site.link("/pairs?outcome=decisive&stream=default"))
    page.evaluate(Axe().axe_script)
    for path in ["pair", *VIEWS]:
        if path == "pair":
            page.click("tbody tr a")
            page.locator("section[aria-label='Reasons']").wait_for()
            page.keyboard.press("d")
        else:
            turn_to(page, path)
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        for scheme, rules in (("dark", {"runOnly": ["color-contrast"]}), ("light", {})):
            page.emulate_media(color_scheme=scheme)
            found += violations(page, f"{path} {scheme}", rules)
    assert found == []


def violations(page: Page, where: str, rules: dict[str, Any]) -> list[str]:
    """What axe-core calls serious or critical in the page as it is."""
    found = page.evaluate("rules => axe.run({resultTypes: ['violations'], ...rules})", rules)["violations"]
    return [
        f"{where}: {one['id']} {node['html'][:200]} {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def test_no_view_is_wider_than_a_phone(site: Site, browser: Browser) -> None:
    with opened(browser, width=360, height=740) as watched:
        page = watched.page
        open_view(page, site, "/")
        for path in VIEWS:
            turn_to(page, path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        page.goto(site.link(newest_decisive(site)))
        page.locator("section[aria-label='Reasons']").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize(("width", "height"), [(1024, 768), (390, 844)])
def test_the_pairs_fit_their_window_without_scrolling_sideways(
    site: Site, browser: Browser, width: int, height: int
) -> None:
    with opened(browser, width=width, height=height) as watched:
        page = watched.page
        open_view(page, site, "/pairs")
        for stream in ("default", HOSTILE_STREAM):
            page.get_by_label("Stream").fill(stream)
            page.get_by_role("button", name="Filter").click()
            page.wait_for_url("**/pairs?stream=*")
            expect(page.locator("table.pairs tbody tr").first).to_be_visible()
            widths = page.locator(".wide").evaluate("one => [one.scrollWidth, one.clientWidth]")
            assert widths[0] <= widths[1], stream
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert watched.wrong == []


def test_a_problem_stands_on_every_view_and_leads_to_its_details(site: Site, watched: Watched) -> None:
    page = watched.page
    summary = "568 of the last 568 calls of the judge <img src=x onerror=alert(1)> failed"
    problem = {"severity": "critical", "summary": summary, "where": "/endpoints", "runbook": "deploy/runbooks/X.md"}
    status = {**site.ask("/api/board"), "problems": [problem]}
    body = f"event: live\nid: 1\ndata: {json.dumps(status)}\n\n"
    page.route("**/api/live", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    page.goto(site.link("/models"))
    strip = page.get_by_role("status").and_(page.locator("#problems"))
    expect(strip).to_contain_text("✖ Critical")
    expect(strip).to_contain_text(summary)
    expect(strip).to_contain_text("Runbook: deploy/runbooks/X.md")
    strip.get_by_role("link", name=summary).click()
    expect(page.locator("h1")).to_have_text("Endpoints")
    expect(strip).to_contain_text(summary)
    assert page.evaluate(FOREIGN) == []


def test_a_stream_without_a_problem_has_no_strip(site: Site, watched: Watched) -> None:
    page = watched.page
    open_view(page, site, "/")
    fine = {**site.ask("/api/board"), "problems": []}
    body = f"event: live\nid: 1\ndata: {json.dumps(fine)}\n\n"
    page.route("**/api/live", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    page.reload()
    expect(page.locator("#badge")).to_have_text("live")
    expect(page.locator("#problems")).to_be_empty()
    assert page.locator("#problems").evaluate("one => one.offsetHeight") == 0


def test_a_pair_says_how_many_of_its_judges_were_valid(site: Site, watched: Watched) -> None:
    watched.page.goto(site.link(newest_decisive(site)))
    fact = watched.page.locator(".facts div", has_text="Valid verdicts")
    expect(fact).to_contain_text(re.compile(r"\d of \d judges?$"))
    assert watched.wrong == []


def newest_decisive(site: Site) -> str:
    pairs = site.ask("/api/pairs?outcome=decisive&stream=default&limit=1")["pairs"]
    return f"/pairs/{pairs[0]['pair']}"


def test_dead_prompts_are_tried_again_with_the_token_and_not_without(site: Site, watched: Watched) -> None:
    page = watched.page
    open_view(page, site, "/dead")
    expect(page.locator("section", has_text="given up after 3 attempts").last).to_be_visible()
    page.get_by_role("button", name="Requeue dead prompts").click()
    expect(page.get_by_role("alert")).to_have_text("This token may only read; a change needs another one.")
    page.locator("#token").fill("wrong")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_have_text("This is no valid token.")
    page.locator("#token").fill(site.client.token)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("status").last).to_have_text("1 prompt requeued.")
    expect(page.get_by_text("No dead prompts.")).to_be_visible()
    refused = [said for said in watched.wrong if "401" in said or "403" in said]
    assert watched.wrong == refused
    assert refused
    assert page.evaluate("document.cookie") == ""  # no script can read the token


def test_another_origin_gets_403_and_no_token_401(site: Site, watched: Watched) -> None:
    address = f"{site.url}/api/requeue"
    ask = watched.page.request
    bearer = {"Authorization": f"Bearer {site.client.token}"}
    waste = {"what": "failed"}
    before = site.ask("/api/pairs?outcome=unscored")["pairs"]
    assert before
    assert ask.post(address, data=waste).status == 401
    assert ask.post(address, data=waste, headers={"Authorization": "Bearer x"}).status == 401
    assert ask.post(address, data=waste, headers={**bearer, "Origin": "http://elsewhere.test"}).status == 403
    assert ask.post(address, data=waste, headers={**bearer, "Host": "elsewhere.test"}).status == 403
    watched.page.goto(site.elsewhere)
    sent = "options => fetch(options.url, options).then(() => 'went', () => 'refused')"
    options = {"url": address, "method": "POST", "headers": {**bearer, "Content-Type": "application/json"}}
    assert watched.page.evaluate(sent, {**options, "body": json.dumps(waste)}) == "refused"
    assert site.ask("/api/pairs?outcome=unscored")["pairs"] == before
    assert ask.post(address, data={"what": "dead"}, headers={**bearer, "Origin": site.url}).status == 200


def test_the_stream_is_paused_and_goes_on(site: Site, watched: Watched) -> None:
    page = watched.page
    page.goto(link(site.url + "/", site.client.token))
    expect(page).to_have_url(site.url + "/")
    expect(page.locator("#badge")).to_have_text("live")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".control")).to_contain_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert watched.wrong == []


def test_the_event_stream_is_closed_while_the_tab_is_hidden(site: Site, watched: Watched) -> None:
    page = watched.page
    opened_streams, ended = [], []
    page.on("request", lambda one: one.url.endswith("/api/live") and opened_streams.append(one))
    page.on("requestfailed", lambda one: one.url.endswith("/api/live") and ended.append(one))
    open_view(page, site, "/pairs")
    assert (len(opened_streams), len(ended)) == (1, 0)
    hide = """hidden => { Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange")); }"""
    with page.expect_event("requestfailed", lambda one: one.url.endswith("/api/live")):
        page.evaluate(hide, True)
    with page.expect_request("**/api/live"):
        page.evaluate(hide, False)
    assert len(opened_streams) == 2


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, subprocess.Popen[bytes]]]:
    """The page by itself over an empty store: nothing else runs."""
    home = tmp_path_factory.mktemp("bare")
    pipeline = Pipeline(home, LIMITS + pool("http://127.0.0.1:1/v1"))
    pipeline.environment["KARMA_PAGE_PORT"] = "0"
    migrate(f"sqlite:///{home / 'karma.db'}")
    with (home / "page.log").open("wb") as log:
        page = subprocess.Popen(
            [sys.executable, "-m", "karma.run", "page"], stdout=log, stderr=log, env=pipeline.environment
        )
    try:
        wait_until(lambda: (home / "run" / "page.url").exists(), 30, "the page is up")
        yield Site(home, pipeline), page
    finally:
        page.terminate()
        page.wait(20)


def test_every_view_of_an_empty_store_says_what_to_do_next(bare: tuple[Site, Any], watched: Watched) -> None:
    open_view(watched.page, bare[0], "/")
    for path in VIEWS:
        turn_to(watched.page, path)
        if path not in ("/endpoints", "/dead"):
            expect(watched.page.locator("main code").first).to_have_text("karma enqueue FILE")
    assert watched.wrong == []


def test_figures_that_are_old_say_so(bare: tuple[Site, subprocess.Popen[bytes]], watched: Watched) -> None:
    site, process = bare
    open_view(watched.page, site, "/")
    os.kill(process.pid, signal.SIGSTOP)
    try:
        expect(watched.page.locator("#badge")).to_have_text(re.compile(r"^stale \d+ s$"))
        expect(watched.page.locator("#problems")).to_contain_text("The figures are out of date")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    expect(watched.page.locator("#badge")).to_have_text("live")
    expect(watched.page.locator("#problems")).to_be_empty()


def test_a_pair_that_is_not_there_is_said_in_a_sentence(bare: tuple[Site, Any], watched: Watched) -> None:
    watched.page.goto(bare[0].link("/pairs/17"))
    expect(watched.page.get_by_role("alert")).to_contain_text("has no pair 17")


def test_a_word_diff_marks_what_the_other_text_does_not_say(bare: tuple[Site, Any], watched: Watched) -> None:
    watched.page.goto(bare[0].link("/"))

    def diff(*texts: str) -> dict[str, Any]:
        found = watched.page.evaluate("async (texts) => (await import('/static/diff.js')).wordDiff(...texts)", texts)
        for side, text in zip("ab", texts, strict=True):
            assert "".join(run["text"] for run in found[side]) == text
        return found

    found = diff("The sum is 42 because of it.", "The  sum is 43 of\nit.")
    assert [run["text"] for run in found["a"] if run["own"]] == ["42 because "]
    assert [run["text"] for run in found["b"] if run["own"]] == ["43 "]
    assert not found["bounded"]
    assert not any(run["own"] for run in diff("the same", "the same")["a"])
    assert all(run["own"] for run in diff("", "only here")["b"])
    assert diff(" ".join(f"a{n}" for n in range(4000)), " ".join(f"b{n}" for n in range(4000)))["bounded"]


def test_numbers_are_shown_with_their_units(bare: tuple[Site, Any], watched: Watched) -> None:
    expected = {
        "count(1234567)": "1,234,567",
        "share(0.1234)": "12.3\u202f%",
        "share(null)": "–",
        "rate(0.456)": "0.46\u202f/s",
        "rate(1234.5, '/min')": "1,235\u202f/min",
        "span(0.0451)": "45\u202fms",
        "span(75)": "1\u202fmin 15\u202fs",
        "span(90000)": "1\u202fd 1\u202fh",
        "span(undefined)": "–",
        "money(0.001474, 'USD')": "$0.0015",
        "money(1234.5, 'USD')": "$1,234.50",
        "signed(-0.5)": "−0.50",
        "number(-0.5)": "−0.50",
        "rate(-0.5)": "−0.50\u202f/s",
        "lastPairs(5000)": "last 5,000 resolved pairs",
        "counted(66, 'tie')": "66 ties",
        "interval(0.62, 0.581, 0.657)": "62.0\u202f% (58.1 to 65.7)",
    }
    watched.page.goto(bare[0].link("/"))
    calls = ", ".join(f"format.{call}" for call in expected)
    shown = watched.page.evaluate(
        f"async () => {{ const format = await import('/static/format.js'); return [{calls}]; }}"
    )
    assert dict(zip(expected, shown, strict=True)) == expected
