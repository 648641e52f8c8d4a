"""What is unknown, unreliable or contradictory is shown where a figure is: in the page and the report, in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import select

from karma.store import Store
from karma.store.schema import pairs, responses
from karma_monitor.figures.judges.canaries import canary_figures
from karma_monitor.figures.quality import default_margin
from karma_monitor.page.tokens import link
from karma_monitor.report import write
from tests.support.browser import Watched, chromium, opened
from tests.support.page import TOKEN, serving
from tests.support.uncertain import FIRST_GROUP, LIMITED, MISFIT, SPARED, WHY_UNKNOWN, fill, uncertain_pool

#: Opens a view in a page and returns what holds it.
Open = Callable[[Page, str], Locator]
VIEWS = {"/models": ("Models", "Wins"), "/quality": ("Pair quality", "Cost")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path_factory.mktemp('uncertain') / 'karma.db'}")
    made.create()
    fill(made)
    yield made
    made.close()


@pytest.fixture(scope="module")
def url(store: Store) -> Iterator[str]:
    with serving(store, uncertain_pool()) as (client, _live):
        yield client.url


@pytest.fixture(scope="module", params=["page", "report"])
def open_view(request: pytest.FixtureRequest, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Page and report show the same."""
    if request.param == "page":
        address = request.getfixturevalue("url")

        def live(page: Page, view: str) -> Locator:
            page.goto(link(address + view, TOKEN))
            page.locator(f"section[aria-label='{VIEWS[view][1]}']").wait_for()
            return page.locator("main")

        return live
    path: Path = tmp_path_factory.mktemp("written") / "report.html"
    write(store, uncertain_pool(), path)

    def frozen(page: Page, view: str) -> Locator:
        page.goto(path.as_uri())
        title, last = VIEWS[view]
        shown = page.locator(f"#report > section[aria-label='{title}']")
        shown.locator(f"section[aria-label='{last}']").wait_for()
        return shown

    return frozen


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    with opened(browser) as page:
        yield page


def panel(view: Locator, name: str) -> Locator:
    return view.locator(f"section[aria-label='{name}']")


def test_groups_that_no_verdict_connects_are_listed(open_view: Open, watched: Watched) -> None:
    note = panel(open_view(watched.page, "/models"), "Leaderboard").get_by_role("note")
    expect(note).to_contain_text("No verdict connects these 2 groups of models, so the gaps between them are unknown")
    expect(note.get_by_role("listitem")).to_have_text(
        [re.compile(f"^{FIRST_GROUP} models: a, b, .* and 25 more$"), re.compile(r"^20 models: ")]
    )
    assert watched.wrong == []


def test_the_chance_to_beat_the_next_model_says_if_it_is_not_known_to_hold(open_view: Open, watched: Watched) -> None:
    board = panel(open_view(watched.page, "/models"), "Leaderboard")
    board.locator("summary").click()
    beats = board.locator("details tbody tr").locator("td:nth-child(5)")
    shown = beats.all_inner_texts()
    assert shown[:4] == ["92\u202f% (unreliable)", "53\u202f%", "97\u202f% (unknown)", "53\u202f%"]
    assert (shown[FIRST_GROUP - 1], shown[-1]) == ("unknown", "–")


def test_a_misfit_pair_is_named_and_its_kinship_is_unknown(open_view: Open, watched: Watched) -> None:
    view = open_view(watched.page, "/models")
    (row,) = panel(view, "Misfit").locator("tbody tr").all()
    assert row.locator("th, td").all_inner_texts() == [
        MISFIT[0],
        MISFIT[1].replace("\x1b", "\\x1b"),
        "21\u202f%",
        "93\u202f%",
        "−8.40",
    ]
    kinship = panel(view, "Kinship")
    expect(kinship.locator("td.unknown", has_text="misfit")).to_have_count(2)
    expect(kinship.locator("td.unknown", has_text="3/8").first).to_be_visible()
    expect(kinship.locator(".legend")).to_contain_text("misfit: their verdicts contradict their competencies")
    assert watched.wrong == []


def test_long_names_in_a_matrix_are_told_apart_by_what_is_seen_of_them(open_view: Open, watched: Watched) -> None:
    names = panel(open_view(watched.page, "/models"), "Kinship").locator("tbody th, thead th span")
    assert names.count() == 80
    cut = "all => all.filter((one) => one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight + 1)"
    assert names.evaluate_all(f"{cut}.map((one) => one.textContent)") == []


def test_common_changes_say_what_changed(open_view: Open, watched: Watched) -> None:
    changes = panel(open_view(watched.page, "/models"), "Common changes")
    expect(changes).to_contain_text("no model is held to have changed")
    expect(changes.locator("tbody tr")).to_contain_text(["all gaps changed by one factor", "all models moved"])


@pytest.mark.parametrize(
    ("path", "name"),
    [("/models", "Reliability of win probabilities"), ("/quality", "Reliability of predicted labels")],
)
def test_each_range_of_probabilities_has_its_state_in_words(
    open_view: Open, watched: Watched, path: str, name: str
) -> None:
    shown = panel(open_view(watched.page, path), name)
    rows = shown.locator(".intervals tbody tr")
    expect(rows.locator("th")).to_have_text(["80 to 90 %", "90 to 95 %", "95 to 98 %", "98 to 99 %", "99 to 100 %"])
    expect(rows.locator("strong")).to_have_text(["✓ reliable", "⚠ unreliable", "? unknown", "? unknown", "? unknown"])
    expect(rows.nth(1)).to_contain_text("11.2\u202f% (9.8 to 12.7) wrong")
    expect(rows.nth(1).locator("line.whisker")).to_have_count(1)
    expect(rows.nth(1).locator("line.expected")).to_have_count(1)
    expect(rows.nth(4)).to_contain_text(re.compile("no (verdicts|audited pairs) yet"))
    expect(rows.nth(4).locator("circle")).to_have_count(0)
    shown.locator("summary").click()
    expect(shown.locator("details tbody tr").nth(1).locator("td")).to_have_text(
        ["7.1\u202f%", "11.2\u202f% (9.8 to 12.7)", "1,804", "unreliable", ""]
    )
    expect(shown.locator("details tbody tr").nth(2)).to_contain_text("too few verdicts")
    assert watched.wrong == []


def test_a_stream_without_an_audit_is_unknown_and_not_empty(open_view: Open, watched: Watched) -> None:
    view = open_view(watched.page, "/quality")
    expect(panel(view, "Reliability of predicted labels")).to_contain_text(
        "Unknown: no audited pairs with a probability above 80 % yet."
    )
    audited = panel(view, "Judge budget").locator("tbody tr", has_text=LIMITED).first
    expect(audited).to_contain_text("unknown: no audit yet")


def test_a_limit_on_wrong_labels_stands_with_the_reason_why_no_label_goes_out(
    open_view: Open, watched: Watched
) -> None:
    limits = panel(open_view(watched.page, "/quality"), "Judge budget").get_by_role(
        "region", name="Limits on wrong predicted labels"
    )
    waiting, spared = (limits.locator("tbody tr", has_text=stream) for stream in (LIMITED, SPARED))
    expect(waiting.locator("td").nth(1)).to_have_text("none yet")
    expect(waiting).to_contain_text("about 420 more judged pairs are needed")
    expect(spared.locator("td").nth(1)).to_have_text("55\u202f%")
    expect(spared).to_contain_text("at most 4.7% of the labels of the 55% most certain pairs are wrong")


def test_biases_that_nothing_can_tell_are_unknown_and_confounded(open_view: Open, watched: Watched) -> None:
    judges = panel(open_view(watched.page, "/quality"), "Judges")
    row = judges.locator("tbody tr", has_text="j").first
    expect(row).to_contain_text("confounded")
    expect(row.get_by_title(WHY_UNKNOWN)).to_have_text("unknown")
    expect(judges).to_contain_text("Length bias is confounded where neither a reference nor other judges")
    expect(judges).to_contain_text(f"How far j favors its own models is unknown: {WHY_UNKNOWN}.")


def test_canaries_say_how_often_a_judge_is_right_and_falls_for_attacks(
    open_view: Open, store: Store, watched: Watched
) -> None:
    with store.reading() as transaction:
        (one,) = canary_figures(transaction.ledger.connection, default_margin)
    assert min(one["clean"], one["attacked"]) > 0
    shares = [
        f"{100 * one[name]:.1f} % ({100 * one[f'{name}_low']:.1f} % to {100 * one[f'{name}_high']:.1f} %) of {number}"
        for name, number in (("accuracy", one["clean"]), ("attack_success", one["attacked"]))
    ]
    shown = panel(open_view(watched.page, "/quality"), "Canaries")
    expect(shown).to_contain_text("pairs whose answer is known, mixed in by canary_share")
    (row,) = shown.locator("tbody tr").all()
    texts = [text.replace("\u202f", " ") for text in row.locator("th, td").all_inner_texts()]
    assert texts == ["j", *shares, "0"]
    assert watched.wrong == []


def test_the_judge_calls_of_the_last_hour_stand_beside_their_limit(url: str, watched: Watched) -> None:
    watched.page.goto(link(f"{url}/", TOKEN))
    tile = watched.page.locator(".tile", has_text="Judge calls, last hour")
    expect(tile.locator(".figure")).to_have_text("80 of 400")
    expect(tile.locator(".note")).to_have_text("of the last 60 minutes; the hourly limit")


def test_a_pair_says_that_its_win_probability_is_not_known_to_hold(store: Store, url: str, watched: Watched) -> None:
    with store.reading() as transaction:
        one_is_c = responses.c.id.in_((pairs.c.response_a, pairs.c.response_b)) & (responses.c.model == "c")
        found = select(pairs.c.id).join(responses, one_is_c).limit(1)
        pair = transaction.ledger.connection.execute(found).scalar_one()
    page = watched.page
    page.goto(link(f"{url}/pairs/{pair}", TOKEN))
    page.locator("section[aria-label='Reasons']").wait_for()
    page.keyboard.press("r")
    expect(page.locator(".reasons").first).to_contain_text(
        "win probabilities from 90 to 95 % are unreliable: 11 % of the verdicts went against them, "
        "where 7 % are expected to"
    )


@pytest.mark.parametrize("path", VIEWS)
def test_no_view_is_wider_than_a_phone(open_view: Open, browser: Browser, path: str) -> None:
    with opened(browser, width=360, height=740) as watched:
        open_view(watched.page, path)
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 360
        assert watched.wrong == []


#: All rows of a long table are alike.
ALIKE = {"exclude": [["tbody tr:nth-child(n+6)"]]}


@pytest.mark.parametrize("path", VIEWS)
def test_nothing_is_a_serious_accessibility_violation(url: str, watched: Watched, path: str) -> None:
    page, found = watched.page, []
    page.goto(link(url + path, TOKEN))
    page.locator(f"section[aria-label='{VIEWS[path][1]}']").wait_for()
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    page.evaluate(Axe().axe_script)
    for scheme, rules in (("dark", {"runOnly": ["color-contrast"]}), ("light", {})):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        options = {"resultTypes": ["violations"], **rules}
        for one in page.evaluate("([within, options]) => axe.run(within, options)", [ALIKE, options])["violations"]:
            if one["impact"] in ("serious", "critical"):
                found += [f"{scheme}: {one['id']} {node['html'][:200]}" for node in one["nodes"]]
    assert found == []


@pytest.mark.parametrize(("judged", "shown"), [(0.8, "unknown"), (1.0, "–")])
def test_without_an_audit_the_label_error_is_unknown_where_labels_are_predicted(
    url: str, watched: Watched, judged: float, shown: str
) -> None:
    page = watched.page
    board = page.request.get(f"{url}/api/board", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    board["quality"] |= {"predicted_label_error": None, "label_error": None, "judged_share": judged}
    body = f"event: live\nid: 1\ndata: {json.dumps(board)}\n\n"
    page.route("**/api/live", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    page.goto(link(f"{url}/", TOKEN))
    expect(page.locator(".tile", has_text="Wrong predicted labels").locator(".figure")).to_have_text(shown)
