"""Is it alive, is it ready, and its figures."""

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from inhouse import __version__
from inhouse.core.api import permit
from inhouse.core.principal import Principal


class Health(BaseModel):
    status: str
    version: str


def router(check: Callable[[], None]) -> APIRouter:
    """`check` raises when something that the server needs does not answer."""
    routes = APIRouter(tags=["system"])

    @routes.get("/healthz", openapi_extra={"x-public": True})
    async def alive() -> Health:
        """The process answers."""
        return Health(status="ok", version=__version__)

    @routes.get("/readyz", openapi_extra={"x-public": True})
    async def ready() -> Health:
        """The process and its database answer."""
        await asyncio.to_thread(check)
        return Health(status="ready", version=__version__)

    @routes.get("/metrics", response_class=Response)
    def metrics(who: Annotated[Principal, permit("system:read")]) -> Response:
        """Prometheus text."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return routes
