"""One renderer for every error of our own API."""

import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from inhouse.core.errors import InhouseError, Invalid, NotFound

_log = logging.getLogger(__name__)


class BadRequest(Invalid):
    """The request does not have the shape that this route takes."""


class NoSuchRoute(NotFound):
    """Nothing lives at this address."""


class MethodNotAllowed(Invalid):
    """The address exists, for another method."""

    status = 405


class Unexpected(InhouseError):
    """Something that should not have happened."""


def render(error: InhouseError, request_id: str) -> JSONResponse:
    headers = {}
    if wait_s := error.details.get("retry_after_s"):
        headers["retry-after"] = str(math.ceil(wait_s))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error.wire(request_id), error.status, headers)


def unexpected(request_id: str) -> Unexpected:
    return Unexpected(
        "Something unexpected went wrong on the server.", hint=f"The server's log has the reason under {request_id}."
    )


def install(app: FastAPI) -> None:
    """Make the application answer every error in our shape."""

    @app.exception_handler(InhouseError)
    async def deliberate(request: Request, error: InhouseError) -> JSONResponse:
        return render(error, request_id(request))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problems = [{"place": list(e["loc"]), "message": e["msg"]} for e in error.errors()]
        return render(
            BadRequest(f"{place}: {first['msg']}.", hint="See /docs for what this route takes.", problems=problems),
            request_id(request),
        )

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, InhouseError):  # raised while the body was read
            return render(error.__cause__, request_id(request))
        path = f"{request.method} {request.scope['path']}"
        if error.status_code == 405:
            return render(MethodNotAllowed(f"{path} is not a method of this address."), request_id(request))
        if error.status_code == 404:
            return render(NoSuchRoute(f"There is no {path}.", hint="See /docs."), request_id(request))
        return render(BadRequest(str(error.detail)), request_id(request))

    @app.exception_handler(Exception)
    async def surprise(request: Request, error: Exception) -> JSONResponse:
        _log.error("A request failed unexpectedly.", exc_info=error, extra={"request_id": request_id(request)})
        return render(unexpected(request_id(request)), request_id(request))


def request_id(request: Request) -> str:
    found: Any = request.scope.get("request_id", "")
    return found
