from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from inhouse.core.principal import PermissionMissing, Principal
from inhouse.gateway.audit.api import router
from inhouse.gateway.audit.search import AuditLog
from inhouse.gateway.audit.segments import segments

from .test_audit import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    house.policy.close()


def http(house: House, *scopes: str) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(router(AuditLog(house.home)))

    async def signed_in(scope, receive, send):
        await app({**scope, "principal": Principal("default", "u", frozenset(scopes))}, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(signed_in), base_url="http://test")


async def test_requests_are_listed_and_shown(house: House) -> None:
    first, second = house.ask("one"), house.ask("two")
    house.rows()

    async with http(house, "*") as client:
        page = (await client.get("/gateway/requests", params={"limit": 1})).json()
        rest = (await client.get("/gateway/requests", params={"cursor": page["next"]})).json()
        one = (await client.get(f"/gateway/requests/{first.request_id}")).json()

    assert [row["request_id"] for row in page["items"] + rest["items"]] == [second.request_id, first.request_id]
    assert rest["next"] == ""
    assert one["request"]["messages"][0]["content"] == "one"
    assert one["response"]["choices"][0]["message"]["content"] == "Sure."


async def test_a_changed_request_is_named(house: House) -> None:
    house.start(chain=True)
    house.ask()
    house.rows()
    [segment] = segments(house.home / "audit" / "default")
    path = house.home / "audit" / "default" / segment.name

    async with http(house, "gateway:audit") as client:
        before = (await client.get("/gateway/requests/verify")).json()
        path.write_bytes(path.read_bytes().replace(b"user_ann", b"user_bob", 1))
        after = (await client.get("/gateway/requests/verify")).json()

    assert before == {"whole": True, "broken": ""}
    assert after == {"whole": False, "broken": f"{segment.name}:2"}


async def test_only_who_may_sees_what_others_asked(house: House) -> None:
    async with http(house, "gateway:read", "gateway:write") as client:
        with pytest.raises(PermissionMissing):
            await client.get("/gateway/requests")
        with pytest.raises(PermissionMissing):
            await client.get("/gateway/requests/verify")
