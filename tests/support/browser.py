"""Chromium for tests: pages that remember what went wrong in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.support import needs

ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

Scheme = Literal["light", "dark"]

#: Runs before anything of the page: what its Content-Security-Policy refuses is an error of the page.
_WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error("refused", event.violatedDirective, event.blockedURI, event.sample));
"""


@dataclass
class Watched:
    """A page, and everything that went wrong in it."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Listen before anything is loaded."""
        self.page.on("console", lambda said: said.type in ("error", "warning") and self._note("console", said.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))
        self.page.on("dialog", lambda dialog: (self._note("dialog", dialog.message), dialog.dismiss()))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", lambda got: got.status >= 400 and self._note("answer", f"{got.status} {got.url}"))
        self.page.add_init_script(_WATCH)

    def _note(self, kind: str, text: str) -> None:
        self.wrong.append(f"{kind}: {text}")

    def _failed(self, request: Request) -> None:
        """A request that ends because the page is left, or closes it, is no failure."""
        if request.failure != "net::ERR_ABORTED":
            self._note("request", f"{request.failure} {request.url}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium of its own with a fresh profile: that of the system, as one that downloads itself changes monthly."""
    program = needs.program("chromium", "chromium")
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS, env=environment)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, scheme: Scheme = "light", width: int = 1280, height: int = 900) -> Iterator[Watched]:
    """A page in a context of its own: nothing is kept from one to the next."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
    context.set_default_timeout(15_000)
    try:
        yield Watched(context.new_page())
    finally:
        context.close()
