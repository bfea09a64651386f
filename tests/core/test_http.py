import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from inhouse.core.http import AddressBlocked, AnswerTooLarge, BadUrl, EndpointUnreachable, Http, check_url

METADATA = "http://169.254.169.254/latest/meta-data/"


@pytest_asyncio.fixture
async def secret_server() -> AsyncIterator[tuple[int, list[str]]]:
    """A local server that must not be reached; `/redirect` points at cloud metadata."""
    hits: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).decode().split()[1]
        while (await reader.readline()).strip():
            pass
        hits.append(path)
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret"
        if path == "/redirect":
            head = f"HTTP/1.1 302 Found\r\nlocation: {METADATA}\r\ncontent-length: 0\r\n\r\n".encode()
        writer.write(head)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], hits
    server.close()
    await server.wait_closed()


@pytest_asyncio.fixture
async def http() -> AsyncIterator[Http]:
    client = Http()
    yield client
    await client.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "localhost.",
    ],
)
async def test_no_spelling_of_this_machine_is_reached(
    http: Http, secret_server: tuple[int, list[str]], host: str
) -> None:
    port, hits = secret_server

    with pytest.raises((AddressBlocked, EndpointUnreachable, BadUrl)):
        await http.request("GET", f"http://{host}:{port}/")

    assert hits == []


@pytest.mark.parametrize(
    "url",
    [
        METADATA,
        "http://100.64.0.1/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://172.16.0.1/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://224.0.0.1/",
    ],
)
async def test_private_addresses_are_blocked(http: Http, url: str) -> None:
    with pytest.raises(AddressBlocked):
        await http.request("GET", url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/_x",
        "http://user:pw@host/",
        "http://a\\@b/",
        "http://a:99999/",
        "http://",
        "x",
        "",
    ],
)
def test_only_plain_web_addresses_are_requested(url: str) -> None:
    with pytest.raises(BadUrl):
        check_url(url)


async def test_a_name_with_one_private_address_is_blocked(
    http: Http, secret_server: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, hits = secret_server

    async def lookup(*_: Any, **__: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup)

    with pytest.raises(AddressBlocked):
        await http.request("GET", f"http://many.test:{port}/")

    assert hits == []


async def test_a_registered_endpoint_is_reached(secret_server: tuple[int, list[str]]) -> None:
    port, hits = secret_server
    http = Http(lambda host, asked: (host, asked) == ("127.0.0.1", port))

    response = await http.request("GET", f"http://127.0.0.1:{port}/ok")
    await http.close()

    assert response.text == "secret"
    assert hits == ["/ok"]


async def test_a_redirect_from_an_allowed_place_is_vetted(secret_server: tuple[int, list[str]]) -> None:
    port, hits = secret_server
    http = Http(lambda host, asked: (host, asked) == ("127.0.0.1", port))

    with pytest.raises(AddressBlocked):
        await http.request("GET", f"http://127.0.0.1:{port}/redirect", follow_redirects=True)
    await http.close()

    assert hits == ["/redirect"]


async def test_an_answer_over_the_limit_is_cut(secret_server: tuple[int, list[str]]) -> None:
    port, _ = secret_server
    http = Http(lambda host, asked: True, max_bytes=5)

    with pytest.raises(AnswerTooLarge):
        await http.request("GET", f"http://127.0.0.1:{port}/")
    await http.close()


async def test_proxy_settings_of_the_environment_are_ignored(
    secret_server: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, _ = secret_server
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    http = Http(lambda host, asked: True)

    response = await http.request("GET", f"http://127.0.0.1:{port}/")
    await http.close()

    assert response.status_code == 200


async def test_an_unreachable_endpoint_is_named_without_its_path() -> None:
    http = Http(lambda host, asked: True)

    with pytest.raises(EndpointUnreachable) as raised:
        await http.request("GET", "http://127.0.0.1:9/key=sk-secret")
    await http.close()

    assert "http://127.0.0.1:9" in raised.value.message
    assert "secret" not in raised.value.message
