"""The built console as static files, or one plain page where it was not built."""

from importlib import resources
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_PLAIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>inhouse</title>
<body style="font:15px/1.5 system-ui;margin:3rem auto;max-width:40rem;padding:0 1rem">
<h1>inhouse is running</h1><p>The web console was not built. Run <code>make run</code> where npm can reach its
registry. The API is there: <a href="/docs">/docs</a>.</p></body></html>"""


def console_directory() -> Path:
    return Path(str(resources.files("inhouse.server"))) / "console"


class Console(StaticFiles):
    """Serves the console. Paths that are not files are pages of the app; hashed assets may be kept for ever."""

    def __init__(self, directory: Path) -> None:
        self._index = directory / "index.html"
        super().__init__(directory=directory, check_dir=False)

    async def get_response(self, path: str, scope: Scope) -> Response:
        if not self._index.exists():
            return HTMLResponse(_PLAIN)
        if path.startswith("assets/"):
            response = await super().get_response(path, scope)
            response.headers["cache-control"] = "public, max-age=31536000, immutable"
            return response
        try:
            response = await super().get_response(path, scope)
            if path not in ("", ".", "index.html"):
                return response
        except HTTPException as error:
            if error.status_code != 404 or "." in path.rsplit("/", 1)[-1]:
                raise
        return FileResponse(self._index, headers={"cache-control": "no-cache"})
