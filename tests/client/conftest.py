"""A small server of real rooms, on a real port."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from inhouse.access import api as access_api
from inhouse.access.identity import Identity
from inhouse.apps import api as apps_api
from inhouse.apps.chat import ChatApps
from inhouse.apps.conversations import Conversations
from inhouse.apps.feedback import Feedbacks
from inhouse.apps.publish import Apps
from inhouse.client import Client
from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.data import api as data_api
from inhouse.data.datasets import Datasets
from inhouse.models import api as models_api
from inhouse.models.registry import ModelRegistry
from inhouse.server import errors
from inhouse.server.door import App, Door
from inhouse.testing.services import ScriptedChatModel, fixed_services
from inhouse.workflow import api as workflow_api
from inhouse.workflow.engine import Engine
from inhouse.workflow.traces import Traces
from inhouse.workflow.workflows import Workflows


@contextmanager
def serving(app: App) -> Iterator[str]:
    """Serve an ASGI app on a free port and give its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="warning"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identity]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('client') / 'server.db'}")
    database.create_all()
    yield Identity(database)
    database.dispose()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="session")
def registry(identity: Identity, files: Path) -> ModelRegistry:
    return ModelRegistry(identity.db, Blobs(str(files / "blobs")), files / "models")


@pytest.fixture(scope="session")
def address(identity: Identity, files: Path, registry: ModelRegistry) -> Iterator[str]:
    """One server for all tests: each uses names of its own."""
    db = identity.db
    blobs = Blobs(str(files / "blobs"))
    traces, conversations = Traces(db), Conversations(db)
    services = fixed_services(chat=ScriptedChatModel(["Hel", "lo.\u2028", "Bye."]))
    workflows = Workflows(db, Engine(services), traces)
    apps = Apps(db, workflows)
    chats = ChatApps(apps, conversations, workflows, services, traces)
    api = FastAPI()
    errors.install(api)
    for router in (
        access_api.router(identity),
        data_api.router(Datasets(db, blobs)),
        models_api.router(registry),
        workflow_api.router(workflows, traces),
        apps_api.router(apps, chats, conversations, Feedbacks(db, conversations)),
    ):
        api.include_router(router, prefix="/api/v1")
    traces.start()
    conversations.start()
    door = Door({"": api}, identity, hosts=frozenset({"127.0.0.1"}), limits={"": 1 << 20})
    with serving(door) as url:
        yield url
    conversations.close()
    traces.close()


@pytest.fixture
def client(address: str, identity: Identity) -> Iterator[Client]:
    """A client with every permission."""
    _, key = identity.add_key(Principal.system(), "admin", ("*",))
    with Client(address, key) as client:
        yield client
