"""Every way into the server says who may take it."""

import asyncio
import re
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from inhouse.access.roles import ROLES, scopes_of
from inhouse.core.principal import Principal
from inhouse.core.settings import Settings
from inhouse.gateway.openai import OpenAIApp
from inhouse.server.app import management_api
from inhouse.server.reference import api_routes, permission_of
from inhouse.server.wiring import open_house
from inhouse.serving.asgi import PredictApp
from server.conftest import Server

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")
PUBLIC = {
    ("GET", "/api/v1/auth/link"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/logout"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/health"),
}
ROLES_OF_PERMISSION = {
    "app:read": "admin annotator builder user viewer",
    "app:use": "admin annotator builder user",
    "app:write": "admin builder",
    "chat:run": "admin builder",
    "dataset:read": "admin annotator builder viewer",
    "dataset:write": "admin builder",
    "feedback:review": "admin annotator builder",
    "feedback:write": "admin annotator builder user",
    "gateway:audit": "admin",
    "gateway:read": "admin builder viewer",
    "gateway:write": "admin",
    "key:read": "admin",
    "key:write": "admin",
    "knowledge:read": "admin annotator builder user viewer",
    "knowledge:write": "admin builder",
    "label:write": "admin annotator builder",
    "loop:read": "admin annotator builder viewer",
    "llm:read": "admin builder viewer",
    "llm:write": "admin",
    "loop:write": "admin builder",
    "model:promote": "admin builder",
    "model:read": "admin annotator builder user viewer",
    "model:write": "admin builder",
    "predict:run": "admin builder",
    "run:read": "admin builder viewer",
    "run:write": "admin builder",
    "self:read": "admin annotator builder user viewer",
    "self:write": "admin annotator builder user viewer",
    "system:read": "admin",
    "trace:read": "admin annotator builder viewer",
    "user:read": "admin",
    "user:write": "admin",
    "workflow:read": "admin builder viewer",
    "workflow:run": "admin builder",
    "workflow:write": "admin builder",
}


class Route(NamedTuple):
    """A method of an address, and the permission that it declares."""

    method: str
    path: str
    permission: str | None

    @property
    def address(self) -> str:
        """The path with something in its places."""
        return re.sub(r"\{(\w+)\}", lambda found: "1" if found[1] == "number" else "x", self.path)


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    """All routes of a server, read off the objects that serve them."""
    return asyncio.run(_routes(tmp_path_factory.mktemp("routes") / "home"))


async def _routes(home: Path) -> list[Route]:
    async with open_house(Settings(home=home)) as house:
        managed = api_routes(management_api(house))
    found = [Route(method, one.path, permission_of(one)) for one in managed for method in one.methods or ()]
    return [*found, *(Route(*one) for one in (*OpenAIApp.routes, *PredictApp.routes))]


def test_every_route_declares_a_permission_or_is_public(routes: list[Route]) -> None:
    undeclared = {(route.method, route.path) for route in routes if route.permission is None}

    assert len(routes) > 60
    assert undeclared == PUBLIC


def test_nobody_gets_in_without_credentials(routes: list[Route], nobody: httpx.Client) -> None:
    closed = [route for route in routes if route.permission]

    statuses = {route: nobody.request(route.method, route.address).status_code for route in closed}

    assert {route: status for route, status in statuses.items() if status != 401} == {}


def test_no_undeclared_method_does_anything(routes: list[Route], nobody: httpx.Client) -> None:
    declared = {(route.method, route.path) for route in routes}
    others = [
        Route(method, path, None)
        for path in sorted({route.path for route in routes})
        for method in METHODS
        if (method, path) not in declared
    ]

    statuses = {route: nobody.request(route.method, route.address).status_code for route in others}

    assert set(statuses.values()) <= {401, 404, 405}, statuses


def test_a_key_without_the_permission_gets_nowhere(routes: list[Route], server: Server) -> None:
    closed = [route for route in routes if route.permission not in (None, "self:read")]

    with server.client(server.key("nothing:none")) as client:
        statuses = {route: client.request(route.method, route.address).status_code for route in closed}

    assert {route: status for route, status in statuses.items() if status != 403} == {}


def test_a_key_with_just_the_permission_gets_in(routes: list[Route], server: Server) -> None:
    """Reading only: to get further than the permission check is enough."""
    closed = [route for route in routes if route.permission and route.method == "GET"]
    with server.client() as admin:
        keys = {permission: server.key(permission) for permission in {str(route.permission) for route in closed}}
        shown = [{"authorization": f"Bearer {keys[str(route.permission)]}"} for route in closed]
        statuses = {
            route: admin.get(route.address, headers=headers).status_code
            for route, headers in zip(closed, shown, strict=True)
        }

    assert {route: status for route, status in statuses.items() if status in (401, 403) or status >= 500} == {}


def test_the_roles_may_do_this_and_no_more(routes: list[Route]) -> None:
    declared = sorted({route.permission for route in routes if route.permission})

    matrix = {permission: " ".join(sorted(filter(_may(permission), ROLES))) for permission in declared}

    assert matrix == ROLES_OF_PERMISSION


def _may(permission: str):
    return lambda role: Principal("default", "user_ann", scopes_of(role)).allows(permission)
