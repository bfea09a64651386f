"""The API reference: OpenAPI, and a plain page made from it that needs nothing from elsewhere."""

from collections.abc import Iterator
from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from inhouse.core.api import Permit, permit
from inhouse.core.principal import Principal

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>inhouse API</title>
<meta name="viewport" content="width=device-width"><style>
body{{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#171b21}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #e3e6ea}}
code{{font-family:ui-monospace,Menlo,Consolas,monospace}}h2{{margin-top:2rem;font-size:1.1rem}}</style></head><body>
<h1>inhouse API</h1><p>Send <code>Authorization: Bearer ih_…</code>. The machine-readable form is
<a href="/openapi.json">/openapi.json</a>. Beside these: the OpenAI-compatible <code>/v1/models</code> and
<code>/v1/chat/completions</code>, and <code>POST /predict</code>.</p>{sections}</body></html>"""


def router(api: FastAPI) -> APIRouter:
    routes = APIRouter(tags=["system"])

    @routes.get("/openapi.json", include_in_schema=False)
    def openapi(who: Annotated[Principal, permit("self:read")]) -> JSONResponse:
        return JSONResponse(api.openapi())

    @routes.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    def docs(who: Annotated[Principal, permit("self:read")]) -> HTMLResponse:
        return HTMLResponse(_PAGE.format(sections="".join(_sections(api))))

    return routes


def permission_of(route: RouteContext) -> str | None:
    """The permission that a route declares; None where it declares none."""
    calls = [dependency.call for dependency in route.dependant.dependencies]
    return next((call.permission for call in calls if isinstance(call, Permit)), None)


def api_routes(api: FastAPI) -> list[RouteContext]:
    return [route for route in iter_route_contexts(api.routes) if isinstance(route.original_route, APIRoute)]


def _sections(api: FastAPI) -> Iterator[str]:
    by_tag: dict[str, list[str]] = {}
    for route in api_routes(api):
        if not route.include_in_schema:
            continue
        cells: list[Any] = [
            f"<code>{'/'.join(sorted(route.methods or ()))}</code>",
            f"<code>{escape(str(route.path))}</code>",
            escape(permission_of(route) or "public"),
            escape((route.description or route.summary or str(route.name).replace("_", " ")).strip().split("\n")[0]),
        ]
        by_tag.setdefault(str(route.tags[0]), []).append("".join(f"<td>{cell}</td>" for cell in cells))
    for tag in sorted(by_tag):
        rows = "".join(f"<tr>{row}</tr>" for row in by_tag[tag])
        head = "<tr><th>Method</th><th>Path</th><th>Permission</th><th>What it does</th></tr>"
        yield f"<h2>{escape(tag)}</h2><table>{head}{rows}</table>"
