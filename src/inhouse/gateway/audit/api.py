"""HTTP for looking at the requests that were kept."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.gateway.audit.schemas import RequestDetail, RequestPage, RequestsVerified
from inhouse.gateway.audit.search import AuditLog, Wanted

_Name = Annotated[str, Query(max_length=300)]


def router(log: AuditLog) -> APIRouter:
    routes = APIRouter(prefix="/gateway/requests", tags=["gateway"])
    verifying = asyncio.Lock()  # one at a time: it keeps the disk busy

    @routes.get("")
    async def list_requests(
        who: Annotated[Principal, permit("gateway:audit")],
        since: Annotated[float, Query(ge=0, description="From this Unix time on.")] = 0,
        until: Annotated[float, Query(ge=0, description="Before this Unix time.")] = 1e12,
        key: _Name = "",
        user: _Name = "",
        model: _Name = "",
        status: Annotated[str, Query(pattern=r"^(ok|error|\d{3})?$", description="ok, error, or a number.")] = "",
        text: Annotated[str, Query(max_length=300, description="A text in the request or the answer.")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: Annotated[str, Query(max_length=60)] = "",
    ) -> RequestPage:
        """Requests that were kept, newest first. A long search ends early, with a cursor to go on from."""
        wanted = Wanted(since=since, until=until, key=key, user=user, model=model, status=status, text=text)
        found = await asyncio.to_thread(log.find, who.workspace_id, wanted, limit=limit, cursor=cursor)
        return RequestPage.of(found.rows, found.cursor)

    @routes.get("/verify")
    async def verify_requests(who: Annotated[Principal, permit("gateway:audit")]) -> RequestsVerified:
        """Look for the first kept request that was changed, removed or put in. It needs `chain`, and reads them all."""
        async with verifying:
            broken = await asyncio.to_thread(log.verify, who.workspace_id)
        return RequestsVerified(whole=not broken, broken=broken)

    @routes.get("/{request_id}")
    async def get_request(request_id: str, who: Annotated[Principal, permit("gateway:audit")]) -> RequestDetail:
        """One request, with what was asked and answered."""
        return RequestDetail.of(await asyncio.to_thread(log.get, who.workspace_id, request_id))

    return routes
