"""A server with the help-desk example, shared by all tests that only need one that answers."""

from collections.abc import Iterator

import pytest

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
