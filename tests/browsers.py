"""The console in a real browser: starting one, signing in, and what every page must keep to."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from documents import ROOT
from inhouse.server.pages import console_directory
from servers import Server

PROGRAMS = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PICTURES = Path(__file__).parent / "e2e" / ".screenshots"
AXE = ROOT / "console" / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE_MS = 30_000

Visit = Callable[..., Page]


def missing(what: str) -> None:
    """Skip visibly, or fail where the run demands a browser."""
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"{what}, and REQUIRE_BROWSER=1")
    pytest.skip(what)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped visibly where there is none, or nothing to show."""
    program = next((path for path in map(shutil.which, filter(None, PROGRAMS)) if path), None)
    if program is None:
        missing("no Chromium: install one, or point $CHROMIUM at it")
    if not (console_directory() / "index.html").is_file():
        missing("the console is not built: `make run` does it")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


@contextmanager
def visitor(browser: Browser, server: Server) -> Iterator[Visit]:
    """Sign in by a one-time link, with the browser set up as the keywords say.

    Nothing may be asked of another host, and nothing may be complained of in the browser's console, CSP included.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.text} ({message.location})")

    def visit(user: str = "admin", **settings: object) -> Page:
        options = {"locale": "en", "color_scheme": "light", "viewport": {"width": 1280, "height": 800}, **settings}
        context = browser.new_context(base_url=server.url, **options)  # pyright: ignore[reportArgumentType]
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.on("console", listen)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on("request", lambda request: complaints.append(request.url) if is_outside(request.url) else None)
        page = context.new_page()
        with server.client() as client:
            page.goto(client.users.link(user))
        return page

    def is_outside(url: str) -> bool:
        return not url.startswith((f"{server.url}/", "data:", "blob:"))

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def picture(page: Page, name: str) -> None:
    page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")


def assert_accessible(page: Page) -> None:
    """No serious finding of axe."""
    if not AXE.is_file():
        missing("no axe-core: `npm ci` in console/ brings it")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not serious, "\n".join(f"{one['id']}: {node['html']}" for one in serious for node in one["nodes"])
