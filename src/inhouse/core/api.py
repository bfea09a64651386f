"""What every room's `api.py` shares: declaring a permission, and server-sent events."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import Depends, Request
from fastapi.responses import StreamingResponse

from inhouse.core.errors import Unauthenticated
from inhouse.core.principal import Principal


class NotSignedIn(Unauthenticated):
    """The request carries no valid session or key."""


class Permit:
    """A dependency that lets a request in only with one permission. The permission stays readable on the route."""

    def __init__(self, permission: str) -> None:
        self.permission = permission

    def __call__(self, request: Request) -> Principal:
        principal: Principal | None = request.scope.get("principal")
        if principal is None:
            raise NotSignedIn(
                "You are not signed in.", hint="Send `Authorization: Bearer ih_…` or sign in to the console."
            )
        principal.require(self.permission)
        return principal


def permit(permission: str) -> Any:
    """Declare a route's permission: `who: Annotated[Principal, permit("dataset:read")]`."""
    return Depends(Permit(permission))


def sse(events: AsyncIterator[Mapping[str, Any]]) -> StreamingResponse:
    """Stream `{"event": name, "data": anything, "id"?: n}` items as server-sent events."""

    async def frames() -> AsyncIterator[bytes]:
        async for item in events:
            head = f"id: {item['id']}\n" if "id" in item else ""
            data = json.dumps(item["data"], ensure_ascii=False, separators=(",", ":"))
            yield f"{head}event: {item['event']}\ndata: {data}\n\n".encode()

    return StreamingResponse(
        frames(), media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"}
    )
