"""A server with the help-desk example, shared by all tests that only need one that answers, and a browser for it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from browsers import Visit, chromium, visitor
from servers import Server, running


@pytest.fixture(scope="session")
def helpdesk_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server") / "home", "--demo") as server:
        yield server
        assert server.terminate() == 0


@pytest.fixture(scope="session")
def running_server(helpdesk_server: Server) -> tuple[str, str]:
    """The URL and the admin key."""
    return helpdesk_server.url, helpdesk_server.key


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, helpdesk_server: Server) -> Iterator[Visit]:
    """Signs in, with the browser set up as the keywords say."""
    with visitor(browser, helpdesk_server) as visit:
        yield visit
