"""The HTTP server: a raw data plane beside FastAPI, behind one door."""

import asyncio
import gc
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager

import uvicorn
from fastapi import APIRouter, FastAPI
from starlette.responses import JSONResponse, Response

from inhouse import __version__
from inhouse.access import api as access_api
from inhouse.apps import api as apps_api
from inhouse.core.errors import Conflict, InhouseError
from inhouse.core.settings import Settings
from inhouse.data import api as data_api
from inhouse.data.labelling import api as labelling_api
from inhouse.gateway import api as gateway_api
from inhouse.gateway.audit import api as audit_api
from inhouse.gateway.audit.search import AuditLog
from inhouse.gateway.openai import OpenAIApp, openai_error
from inhouse.knowledge import api as knowledge_api
from inhouse.loop import api as loop_api
from inhouse.models import api as models_api
from inhouse.server import errors, health, reference
from inhouse.server.door import Door
from inhouse.server.pages import Console, console_directory
from inhouse.server.protocol import HttpConnection
from inhouse.server.wiring import House, open_house
from inhouse.serving import api as serving_api
from inhouse.serving.asgi import PredictApp
from inhouse.serving.lm import api as language_models_api
from inhouse.training import api as training_api
from inhouse.training.studies import api as studies_api
from inhouse.training.versions import api as versions_api
from inhouse.workflow import api as workflow_api

PORTS_TRIED = 50
JSON_LIMIT = 4 << 20
MEDIA_LIMIT = 32 << 20


class PortTaken(Conflict):
    """No port near the wanted one is free."""


def create_app(house: House) -> Door:
    """Every route of the server, as one ASGI app."""
    settings = house.settings
    api = management_api(house)
    data_plane = PredictApp(house.predictor)
    hosts = {"localhost", "127.0.0.1", "::1", settings.host.strip("[]"), *settings.allowed_hosts}
    upload = settings.max_upload_mb << 20
    return Door(
        {
            "": Console(console_directory()),
            "/api": api,
            "/docs": api,
            "/openapi.json": api,
            "/healthz": api,
            "/readyz": api,
            "/metrics": api,
            "/v1": OpenAIApp(house.gateway, max_body_bytes=JSON_LIMIT, max_upload_bytes=MEDIA_LIMIT),
            "/predict": data_plane,
            "/health": data_plane,
        },
        house.identity,
        hosts=frozenset(host.lower() for host in hosts),
        limits={
            "/api/v1/datasets": upload,
            "/api/v1/models": upload,
            "/api/v1/knowledge": upload,
            "/v1": MEDIA_LIMIT,
            "": JSON_LIMIT,
        },
        renderers={"/v1": _as_openai},
        data_planes=frozenset({"/v1", "/predict", "/health"}),
    )


def _as_openai(error: InhouseError, request_id: str) -> Response:
    status, body = openai_error(error)
    return JSONResponse(body, status, {"x-request-id": request_id, "x-should-retry": "false"})


def management_api(house: House) -> FastAPI:
    """Everything but the data plane: JSON under /api/v1, health, and its own documentation."""
    api = FastAPI(title="inhouse", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    api.router.redirect_slashes = False
    errors.install(api)
    for router in routers(house):
        api.include_router(router, prefix="/api/v1")
    api.include_router(health.router(house.db.check))
    api.include_router(reference.router(api))
    return api


def routers(house: House) -> list[APIRouter]:
    return [
        access_api.router(house.identity, secure_cookies=house.settings.secure_cookies),
        data_api.router(house.datasets, house.curation),
        labelling_api.router(house.label_queues),
        training_api.router(house.runs),
        studies_api.router(house.studies),
        models_api.router(house.registry, house.deployments.answering),
        versions_api.router(house.versions),
        serving_api.router(house.deployments, house.predictor),
        gateway_api.router(house.gateway),
        gateway_api.management(house.gateway, house.configuration, house.prompts, house.ledger),
        audit_api.router(AuditLog(house.settings.home)),
        language_models_api.router(house.language_models),
        knowledge_api.router(house.knowledge),
        workflow_api.router(house.workflows, house.traces),
        apps_api.router(house.apps, house.chats, house.conversations, house.feedbacks),
        loop_api.router(house.loop),
    ]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on the wanted port or the next free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle on
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, candidate))
            found.listen(2048)
        except OSError:
            found.close()
            if port == 0:
                break
            continue
        found.setblocking(False)
        return found
    raise PortTaken(
        f"Neither port {port} nor the {PORTS_TRIED - 1} after it can be used on {host!r}.",
        hint="Give another one with --port.",
    )


async def serve(
    settings: Settings,
    ready: Callable[[House, str], Coroutine[None, None, None]],
    *,
    before: Callable[[House], None] = lambda house: None,
) -> None:
    """Run until SIGINT or SIGTERM. `before` runs ahead of listening; `ready` is awaited with the base URL once
    requests are answered.
    """
    async with open_house(settings) as house:
        before(house)
        with listen(settings.host, settings.port) as listener:
            config = uvicorn.Config(
                create_app(house),
                loop="uvloop",
                http=HttpConnection,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=20,
            )
            server = _Server(config)
            _settle_memory()
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(server.serve(sockets=[listener]))
                await server.answers.wait()
                told = group.create_task(ready(house, base_url(listener)))
                await serving
                told.cancel()


def _settle_memory() -> None:
    """What is in memory by now stays: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    sys.setswitchinterval(0.001)  # threads that write behind the answers must not hold these up for 5 ms at a time


def base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _Server(uvicorn.Server):
    """Ends after the answers under way on the first signal, at once on the second.

    uvicorn's own handling raises the signal again when it is done, which would skip closing the rooms.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
