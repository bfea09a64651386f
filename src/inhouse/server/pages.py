"""The built console as static files, or one plain page where it was not built."""

from importlib import resources
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

_PLAIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>inhouse</title>
<body style="font:15px/1.5 system-ui;margin:3rem auto;max-width:40rem;padding:0 1rem">
<h1>inhouse is running</h1><p>The web console was not built. Run <code>make run</code> where npm can reach its
registry. The API is there: <a href="/docs">/docs</a>.</p></body></html>"""


def console_directory() -> Path:
    return Path(str(resources.files("inhouse.server"))) / "console"


class Console:
    """Serves the console. A path that is no file is a page of the app; hashed assets may be kept for ever."""

    def __init__(self, directory: Path) -> None:
        self._index = directory / "index.html"
        self._files = StaticFiles(directory=directory, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(scope)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return Response(status_code=405, headers={"allow": "GET, HEAD"})
        if not self._index.exists():
            return HTMLResponse(_PLAIN)
        path = self._files.get_path({**scope, "root_path": ""})
        is_asset = path.startswith("assets/")
        try:
            response = await self._files.get_response(path, scope)
        except HTTPException as error:
            if is_asset or error.status_code != 404:
                return Response(status_code=error.status_code)
            return FileResponse(self._index, headers={"cache-control": "no-cache"})
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if is_asset else "no-cache"
        return response
