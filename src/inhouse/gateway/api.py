"""HTTP for connecting model servers. Chat itself is in `openai.py`."""

import asyncio
from typing import Annotated

from fastapi import APIRouter

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.schemas import Address, FoundList, FoundOut, NewUpstream, UpstreamList, UpstreamOut


def router(gateway: Gateway) -> APIRouter:
    routes = APIRouter(prefix="/upstreams", tags=["gateway"])

    @routes.get("")
    async def list_upstreams(who: Annotated[Principal, permit("gateway:read")]) -> UpstreamList:
        """The connected model servers, newest first."""
        return UpstreamList(items=[UpstreamOut.of(one) for one in reversed(gateway.upstreams(who))])

    @routes.post("", status_code=201)
    async def connect(body: NewUpstream, who: Annotated[Principal, permit("gateway:write")]) -> UpstreamOut:
        """Connect an OpenAI-compatible model server, after asking it for its models."""
        key = body.key.get_secret_value()
        return UpstreamOut.of(await gateway.connect(who, body.name, body.url, key=key, model=body.model))

    @routes.delete("/{name}", status_code=204)
    async def disconnect(name: str, who: Annotated[Principal, permit("gateway:write")]) -> None:
        """Forget a model server and its key."""
        await asyncio.to_thread(gateway.disconnect, who, name)

    @routes.post("/probe")
    async def probe(body: Address, _: Annotated[Principal, permit("gateway:write")]) -> FoundOut:
        """Ask a model server for its models, without connecting it."""
        return FoundOut.of(await gateway.probe(body.url, key=body.key.get_secret_value()))

    @routes.get("/discover")
    async def discover(_: Annotated[Principal, permit("gateway:read")]) -> FoundList:
        """Model servers that run on this machine: Ollama, so far."""
        return FoundList(items=[FoundOut.of(found) for found in await gateway.discover()])

    return routes
