from pathlib import Path

import httpx
import pytest

from inhouse.server.pages import Console


@pytest.fixture
def client(tmp_path: Path) -> httpx.AsyncClient:
    (tmp_path / "console" / "assets").mkdir(parents=True)
    (tmp_path / "console" / "index.html").write_text("<title>inhouse</title>")
    (tmp_path / "console" / "favicon.svg").write_text("<svg/>")
    (tmp_path / "console" / "assets" / "app-1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    return httpx.AsyncClient(transport=httpx.ASGITransport(Console(tmp_path / "console")), base_url="http://localhost")


@pytest.mark.parametrize("path", ["/", "/chat", "/models/name.v2", "/training/run_1", "/index.html"])
async def test_every_page_is_the_app(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)

    assert (response.status_code, response.text) == (200, "<title>inhouse</title>")
    assert response.headers["cache-control"] == "no-cache"


async def test_hashed_assets_are_kept_for_ever(client: httpx.AsyncClient) -> None:
    response = await client.get("/assets/app-1a2b.js")

    assert "immutable" in response.headers["cache-control"]
    assert (await client.get("/assets/missing.js")).status_code == 404


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/../../secret.txt", "//secret.txt"])
async def test_nothing_outside_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert "secret" not in (await client.get(path)).text


async def test_pages_are_only_read(client: httpx.AsyncClient) -> None:
    assert (await client.post("/")).status_code == 405


async def test_an_unbuilt_console_points_at_the_api(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(Console(tmp_path / "nothing"))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert "/docs" in (await client.get("/")).text
