"""Joins the rooms: the only place that knows everyone."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from inhouse.access.identity import Identity
from inhouse.apps.chat import ChatApps
from inhouse.apps.conversations import Conversations
from inhouse.apps.feedback import Feedbacks
from inhouse.apps.publish import Apps
from inhouse.core.blobs import Blobs
from inhouse.core.bus import Bus
from inhouse.core.datadir import DataDirectory
from inhouse.core.db import Database
from inhouse.core.jobs import Jobs
from inhouse.core.principal import Principal
from inhouse.core.secrets import Secrets
from inhouse.core.settings import Settings
from inhouse.data.datasets import Datasets
from inhouse.gateway.gateway import Gateway
from inhouse.knowledge.bases import KnowledgeBases
from inhouse.knowledge.sandbox import Sandbox
from inhouse.loop.loop import Loop
from inhouse.models.registry import ModelRegistry
from inhouse.server.migrations import migrate
from inhouse.serving.deployments import Deployments
from inhouse.serving.pool import Pool
from inhouse.serving.predictor import Predictor
from inhouse.training.runs import Runs
from inhouse.workflow.context import Services
from inhouse.workflow.engine import Engine
from inhouse.workflow.traces import Traces
from inhouse.workflow.workflows import Workflows

_log = logging.getLogger(__name__)


class _RegisteredModels:
    """Model directories for the serving pool, out of the registry."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def resolve(self, workspace_id: str, name: str, version: int) -> Path:
        return self._registry.directory(Principal.system(workspace_id), name, version)


@dataclass(frozen=True, slots=True)
class House:
    """Every room of a running server."""

    settings: Settings
    db: Database
    jobs: Jobs
    bus: Bus
    identity: Identity
    datasets: Datasets
    registry: ModelRegistry
    runs: Runs
    deployments: Deployments
    pool: Pool
    predictor: Predictor
    gateway: Gateway
    knowledge: KnowledgeBases
    workflows: Workflows
    traces: Traces
    apps: Apps
    chats: ChatApps
    conversations: Conversations
    feedbacks: Feedbacks
    loop: Loop


@asynccontextmanager
async def open_house(settings: Settings) -> AsyncIterator[House]:
    """Lock the data directory, migrate, join the rooms and start them; close them in reverse order."""
    async with AsyncExitStack() as closing:
        home = DataDirectory(settings.home)
        home.lock()
        closing.callback(home.release)
        db = Database(settings.database_url)
        closing.callback(db.dispose)
        db.check()
        migrate(db)
        house = _join(settings, db, closing)
        await _start(house, closing)
        yield house


def _join(settings: Settings, db: Database, closing: AsyncExitStack) -> House:
    home = settings.home
    bus = Bus(settings.redis)
    blobs = Blobs(settings.blobs_url)
    jobs = Jobs(settings.jobs_url)
    sandbox = Sandbox()
    closing.callback(sandbox.close)
    identity = Identity(db, changed=lambda: bus.publish("access"))
    datasets = Datasets(db, blobs)
    registry = ModelRegistry(db, blobs, home / "cache" / "models")
    deployments = Deployments(db)
    pool = Pool(
        _RegisteredModels(registry),
        threads=settings.serving.threads,
        memory_bytes=settings.serving.memory_mb << 20,
        max_batch_tokens=settings.serving.max_batch_tokens,
        max_queue=settings.serving.max_queue,
    )
    predictor = Predictor(pool, deployments, default_model=settings.serving.default_model)
    gateway = Gateway(db, Secrets(home / "secrets.key"))
    knowledge = KnowledgeBases(db, blobs, jobs, sandbox)
    traces = Traces(db)
    services = Services(predictor=predictor, retriever=knowledge, chat=gateway)
    workflows = Workflows(db, Engine(services), traces, changed=lambda: bus.publish("workflows"))
    runs = Runs(db, jobs, datasets, registry, home / "runs")
    apps = Apps(db, workflows, changed=lambda: bus.publish("apps"))
    conversations = Conversations(db)
    feedbacks = Feedbacks(db, conversations)
    chats = ChatApps(apps, conversations, workflows, services, traces)
    loop = Loop(
        db,
        datasets=datasets,
        registry=registry,
        runs=runs,
        predictor=predictor,
        deployments=deployments,
        feedbacks=feedbacks,
        changed=lambda: bus.publish("deployments"),
    )
    return House(
        settings=settings,
        db=db,
        jobs=jobs,
        bus=bus,
        identity=identity,
        datasets=datasets,
        registry=registry,
        runs=runs,
        deployments=deployments,
        pool=pool,
        predictor=predictor,
        gateway=gateway,
        knowledge=knowledge,
        workflows=workflows,
        traces=traces,
        apps=apps,
        chats=chats,
        conversations=conversations,
        feedbacks=feedbacks,
        loop=loop,
    )


async def _start(house: House, closing: AsyncExitStack) -> None:
    closing.push_async_callback(house.pool.close)
    closing.push_async_callback(house.gateway.close)
    house.bus.listen("access", house.identity.refresh)
    house.bus.listen("deployments", house.deployments.refresh)
    house.bus.listen("apps", house.apps.refresh)
    house.bus.listen("workflows", house.workflows.forget)
    for refresh in (house.identity.refresh, house.deployments.refresh, house.gateway.refresh, house.apps.refresh):
        refresh()
    house.traces.start()
    closing.callback(house.traces.close)
    house.conversations.start()
    closing.callback(house.conversations.close)
    closing.push_async_callback(asyncio.to_thread, house.jobs.close)
    closing.callback(house.runs.close)
    await asyncio.to_thread(house.jobs.launch)
    await asyncio.to_thread(house.knowledge.recover)
    await asyncio.to_thread(house.runs.recover)
    closing.push_async_callback(house.bus.close)
    await house.bus.start()
    closing.push_async_callback(house.loop.close)
    house.loop.start()
    warming = asyncio.create_task(asyncio.to_thread(house.knowledge.warm))
    closing.push_async_callback(asyncio.gather, warming)
    await _attach_language_model(house)


async def _attach_language_model(house: House) -> None:
    """Connect the language model that the settings name; a server without it still answers by quoting."""
    llm = house.settings.llm
    if not llm.url:
        return
    try:
        await house.gateway.attach("settings", llm.url, key=llm.key.get_secret_value(), model=llm.model)
    except Exception as error:
        _log.warning("The language model of the settings cannot be reached: %s", error)
