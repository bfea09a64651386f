"""What `vllm serve` looks like from outside, for tests of what watches over it.

`python -m inhouse.testing.vllm_stand_in serve DIRECTORY --port …` speaks vLLM's HTTP: health, OpenAI's API behind a
key, adapters that come and go. A parrot answers; nothing is loaded. The model's config may hold `stand_in`:
`{"fails": "words"}` ends it at once with these last words, `{"deaf": true}` makes it never healthy,
`{"refuses": "name"}` makes it refuse the adapter of that name.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from inhouse.testing.openai_stand_in import OpenAIStandIn


class VllmStandIn:
    """The server's state: which adapters it has beside its model."""

    def __init__(self, model: str, behaviour: dict[str, Any]) -> None:
        self.server = OpenAIStandIn([model])
        self.adapters: dict[str, str] = {}
        self._behaviour = behaviour
        self.server.app.router.routes += [
            Route("/health", self._health),
            Route("/v1/load_lora_adapter", self._load, methods=["POST"]),
            Route("/v1/unload_lora_adapter", self._unload, methods=["POST"]),
            Route("/adapters", self._tell),
            Route("/slow", self._dawdle),
        ]

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("", 503 if self._behaviour.get("deaf") else 200)

    async def _load(self, request: Request) -> Response:
        body = await request.json()
        name, path = body["lora_name"], body["lora_path"]
        if name in self.adapters and not body.get("load_inplace"):
            return _refuse(400, f"The lora adapter '{name}' has already been loaded.")
        if name == self._behaviour.get("refuses") or not (Path(path) / "adapter_config.json").exists():
            return _refuse(404, f"No adapter found for {path}")
        self.adapters[name] = path
        self.server.models = [*dict.fromkeys([*self.server.models, name])]
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        if self.adapters.pop(name, None) is None:
            return _refuse(404, f"The lora adapter '{name}' cannot be found.")
        self.server.models.remove(name)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def _tell(self, _: Request) -> Response:
        """Not vLLM's: what a test wants to know."""
        told = sorted(name for name in os.environ if name.startswith(("INHOUSE_", "VLLM_")))
        return JSONResponse({"adapters": self.adapters, "environment": told})

    async def _dawdle(self, request: Request) -> Response:
        """Not vLLM's: an answer that takes the seconds it is asked for."""
        await asyncio.sleep(float(request.query_params["seconds"]))
        return PlainTextResponse("at last")


def behind_key(app: ASGIApp, key: str) -> ASGIApp:
    """As in vLLM, everything under /v1 wants the key."""

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1"):
            sent = dict(scope["headers"]).get(b"authorization", b"")
            if sent != f"Bearer {key}".encode():
                await JSONResponse({"error": "Unauthorized"}, 401)(scope, receive, send)
                return
        await app(scope, receive, send)

    return checked


def _refuse(status: int, message: str) -> Response:
    error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
    return JSONResponse({"error": error}, status)


def main() -> None:
    parser = argparse.ArgumentParser("vllm")
    parser.add_argument("serve", choices=["serve"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--shutdown-timeout", type=int, default=0)
    arguments, _ = parser.parse_known_args()
    behaviour = json.loads((arguments.directory / "config.json").read_text()).get("stand_in", {})
    if said := behaviour.get("fails"):
        raise SystemExit(said)
    stand_in = VllmStandIn(arguments.served_model_name, behaviour)
    app = behind_key(stand_in.server.app, os.environ["VLLM_API_KEY"])
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=arguments.shutdown_timeout,
    )


if __name__ == "__main__":
    main()
