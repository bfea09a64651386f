"""A model server with the whole OpenAI surface on 127.0.0.1, for tests of clients and gateways. A parrot answers.

async with openai_stand_in() as server:
    client = openai.AsyncOpenAI(base_url=server.url, api_key="any")
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from inhouse.testing import openai_answers as answers
from inhouse.testing.upstream import Heard

MODELS = ("stand-in", "stand-in-reasoning", "stand-in-embedding", "stand-in-rerank", "stand-in-audio", "stand-in-image")
_Answer = Callable[[dict[str, Any]], Response]


class OpenAIStandIn:
    """The server. `heard` keeps every request; the models that it has are those named in `models`."""

    def __init__(self, models: Sequence[str] = MODELS) -> None:
        self.models = list(models)
        self.heard: list[Heard] = []
        self.url = ""
        self._refusal: Response | None = None
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._list),
                Route("/v1/models/{name:path}", self._find),
                Route("/v1/chat/completions", self._json(answers.chat, "messages"), methods=["POST"]),
                Route("/v1/completions", self._json(answers.complete, "prompt"), methods=["POST"]),
                Route("/v1/embeddings", self._json(answers.embed, "input"), methods=["POST"]),
                Route("/v1/rerank", self._json(answers.rerank, "query", "documents"), methods=["POST"]),
                Route("/v1/images/generations", self._json(answers.draw, "prompt"), methods=["POST"]),
                Route("/v1/audio/speech", self._json(answers.speak, "input"), methods=["POST"]),
                Route("/v1/audio/transcriptions", self._listen, methods=["POST"]),
                Route("/v1/audio/translations", self._listen, methods=["POST"]),
            ]
        )

    def refuse(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        """Answer every request to a model with this error, until `accept`."""
        self._refusal = answers.refuse(status, "Told to refuse.", headers=headers)

    def accept(self) -> None:
        self._refusal = None

    async def _list(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_listed(name) for name in self.models]})

    async def _find(self, request: Request) -> Response:
        name = request.path_params["name"]
        return self._unknown(name) or JSONResponse(_listed(name))

    def _json(self, answer: _Answer, *required: str) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            await self._remember(request)
            if self._refusal is not None:
                return self._refusal
            try:
                body = await request.json()
            except ValueError:
                return answers.refuse(400, "The body is not JSON.")
            missing = [name for name in ("model", *required) if not isinstance(body, dict) or name not in body]
            if missing:
                return answers.refuse(400, f"Missing: {missing[0]}.", param=missing[0])
            return self._unknown(body["model"]) or answer(body)

        return respond

    async def _listen(self, request: Request) -> Response:
        await self._remember(request)
        async with request.form() as form:
            file, model = form.get("file"), form.get("model")
            if not isinstance(file, UploadFile):
                return answers.refuse(400, "Missing: file.", param="file")
            heard = f"I heard {file.filename}, which has {len(await file.read())} bytes."
            return self._unknown(model) or answers.transcript(heard, str(form.get("response_format", "json")))

    async def _remember(self, request: Request) -> None:
        path = request.scope["path"]
        self.heard.append(Heard(request.method, path, dict(request.headers), await request.body()))

    def _unknown(self, model: object) -> Response | None:
        if model in self.models:
            return None
        return answers.refuse(404, f"There is no model {model!r}.", code="model_not_found", param="model")


@asynccontextmanager
async def openai_stand_in(models: Sequence[str] = MODELS, *, port: int = 0) -> AsyncIterator[OpenAIStandIn]:
    """Run a server for a while."""
    stand_in = OpenAIStandIn(models)
    config = uvicorn.Config(stand_in.app, port=port, log_config=None, lifespan="off", ws="none")
    config.timeout_graceful_shutdown = 1
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    stand_in.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    try:
        yield stand_in
    finally:
        await server.shutdown()


def _listed(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1, "owned_by": "inhouse"}
