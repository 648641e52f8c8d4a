"""Pictures of the page's views, taken of a real run: `python -m tests.acceptance.screenshots OUTDIR`.

`karma up` runs as a user runs it, against a local server whose models do sums (`tests.support.arithmetic`); every view
is opened in Chromium while prompts stream, in light and dark and as on a phone.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page

from karma_monitor.page.tokens import link
from tests.support import arithmetic
from tests.support.browser import Watched, chromium, opened
from tests.support.endpoint import Behaviour, serve
from tests.support.page import Page as Client
from tests.support.pipeline import Pipeline, wait_until

#: View → its address, its title, and what is waited for before its picture is taken.
VIEWS = {
    "stream": ("/", "Stream", "section[aria-label='Models'] .intervals"),
    "quality": ("/quality", "Pair quality", "section[aria-label='Cost']"),
    "models": ("/models", "Models", "section[aria-label='Wins']"),
    "endpoints": ("/endpoints", "Endpoints", "section[aria-label='Unscored pairs']"),
    "pairs": ("/pairs?source=judge", "Pairs", "tbody tr"),
    "pair": ("/pairs?outcome=decisive&source=judge", "Pairs", "tbody tr"),
    "dead": ("/dead", "Dead prompts", "section[aria-label='Unscored pairs']"),
}
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


def pool(url: str) -> str:
    """A pool of the sums' models and judges, with a judge budget."""
    parts = ["[pipeline]", "refit_every_s = 1.0"]
    parts += ["[stream]", 'goal = "label"', "responses_per_prompt = 3", "judge_share = 0.7"]
    for place, name in enumerate(arithmetic.MODELS):
        price = f"price = {{ input = {0.6 / (place + 1):.2f}, output = {2.4 / (place + 1):.2f} }}"
        parts += [f"[models.{name}]", *_endpoint(name, url), price]
    for name in arithmetic.JUDGES:
        parts += [f"[judges.{name}]", 'kind = "openai"', f"[judges.{name}.model]", *_endpoint(name, url)]
        parts += ["price = { input = 0.15, output = 0.60 }"]
    return "\n".join(parts) + "\n"


def _endpoint(name: str, url: str) -> list[str]:
    return ['backend = "openai"', f'model = "{name}"', f'base_url = "{url}"', "concurrency = 8"]


@contextmanager
def run(home: Path, prompts: int) -> Iterator[tuple[Client, Pipeline]]:
    """A run in full flow, and a client of its page."""
    with serve(Behaviour(latency_ms=60, spread_ms=400, rate_429=0.02, drop=0.005)) as endpoint:
        arithmetic.teach(endpoint)
        pipeline = Pipeline(home, pool(endpoint.url))
        pipeline.environment["KARMA_PAGE_PORT"] = "0"
        with pipeline.up(page=True):
            pipeline.enqueue(arithmetic.prompts(prompts), "--stream", "sums")
            yield Client.of(home), pipeline


def take(watched: Watched, client: Client, out: Path, preferences: int) -> None:
    """A picture of every view; the page stays open from the beginning, so that its rates have a course."""
    page = watched.page
    # Everything is enqueued at once; once that has left the rates, their picture shows the flow.
    wait_until(lambda: client.get("/api/board")["rates"]["prompts_per_s"] == 0.0, 120, "all prompts are enqueued")
    page.goto(link(f"{client.url}/", client.token))
    wait_until(
        lambda: client.get("/api/board")["outcome"]["preferences"] >= preferences, 300, f"{preferences} preferences"
    )
    wait_until(
        lambda: len(client.get("/api/models")["models"]) == len(arithmetic.MODELS), 60, "every model is on the ladder"
    )
    for name, (path, title, ready) in VIEWS.items():
        page.evaluate(
            "path => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')); }", path
        )
        page.locator("h1", has_text=title).wait_for()  # the view before may have what this one waits for
        page.locator(ready).first.wait_for()
        if name == "pair":
            page.locator("tbody tr a").first.click()
            page.locator("section[aria-label='Reasons']").wait_for()
            for key in "rd":
                page.keyboard.press(key)
        shoot(page, out, name)


def shoot(page: Page, out: Path, name: str) -> None:
    """One view in light and dark and as on a phone."""
    for kind, scheme, size in (("light", "light", WIDE), ("dark", "dark", WIDE), ("phone", "light", PHONE)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size(size)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        path = out / f"{name}-{kind}.png"
        page.screenshot(path=path, full_page=name != "pairs")  # fifty of them are all alike
        print(path)
    page.set_viewport_size(WIDE)


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUTDIR")
    parser.add_argument("--prompts", type=int, default=3000, help="how many prompts are streamed")
    parser.add_argument(
        "--preferences", type=int, default=400, help="how many there are when the first picture is taken"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        run(Path(home) / "home", arguments.prompts) as (client, _),
        chromium() as browser,
        opened(browser) as watched,
    ):
        take(watched, client, arguments.out, arguments.preferences)
        if watched.wrong:
            raise SystemExit("\n".join(watched.wrong))


if __name__ == "__main__":
    main()
