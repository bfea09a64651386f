"""Joins the rooms: the only place that knows everyone."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse.access.identity import Identity
from inhouse.apps.chat import ChatApps
from inhouse.apps.conversations import Conversations
from inhouse.apps.feedback import Feedbacks
from inhouse.apps.publish import Apps
from inhouse.core.blobs import Blobs
from inhouse.core.bus import Bus
from inhouse.core.datadir import DataDirectory
from inhouse.core.db import Database
from inhouse.core.errors import InhouseError, Invalid
from inhouse.core.jobs import Jobs
from inhouse.core.principal import Principal
from inhouse.core.secrets import Secrets
from inhouse.core.settings import SETTINGS_FILE, Settings, load_settings
from inhouse.core.settings import Gateway as GatewaySettings
from inhouse.core.settings import Training as TrainingSettings
from inhouse.data.curation import Curation
from inhouse.data.datasets import Datasets
from inhouse.data.examples import Example
from inhouse.data.labelling.queues import Queues
from inhouse.gateway import pulse
from inhouse.gateway.configuration import Configuration
from inhouse.gateway.gateway import Gateway
from inhouse.gateway.ledger import Ledger
from inhouse.gateway.policy import Surroundings
from inhouse.gateway.prompts import Prompts
from inhouse.knowledge.bases import KnowledgeBases
from inhouse.knowledge.sandbox import Sandbox
from inhouse.loop.loop import Loop
from inhouse.models.registry import ModelRegistry
from inhouse.server import curation
from inhouse.server.migrations import migrate
from inhouse.serving.deployments import Deployments
from inhouse.serving.language_models import LanguageModels
from inhouse.serving.lm.piece import Encoder
from inhouse.serving.pool import Pool
from inhouse.serving.predictor import Predictor
from inhouse.training.jobs import Terms
from inhouse.training.mlflow import Mlflow
from inhouse.training.runs import Runs
from inhouse.training.studies.studies import Studies
from inhouse.training.versions.versions import Versions
from inhouse.workflow.context import Services
from inhouse.workflow.engine import Engine
from inhouse.workflow.traces import Traces
from inhouse.workflow.workflows import Workflows

if TYPE_CHECKING:
    import numpy as np

_RETRY_S = 15.0
_LOOK_S = 1.0
_log = logging.getLogger(__name__)


class _RegisteredModels:
    """Model directories for the serving pool, out of the registry."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def resolve(self, workspace_id: str, name: str, version: int) -> Path:
        return self._registry.directory(Principal.system(workspace_id), name, version)

    def find(self, workspace_id: str, name: str, version: str) -> Path:
        """By number or alias, for the language models."""
        principal = Principal.system(workspace_id)
        found = self._registry.get(principal, name, int(version) if version.isdecimal() else version)
        return self._registry.directory(principal, name, found.number)


class NotAnEncoder(Invalid):
    """A policy names a model that does something else."""


class _SettingsFile:
    """The settings as the file says them now, for what can change while the server runs."""

    def __init__(self, settings: Settings) -> None:
        self.latest = settings

    def gateway(self) -> GatewaySettings:
        self.latest = load_settings()
        return self.latest.gateway


class _Classifiers:
    """Served classifiers, for the gateway's guard."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    async def labels(self, workspace_id: str, model: str, texts: Sequence[str]) -> list[tuple[str, float]]:
        found = await self._predictor.predict(Principal.system(workspace_id), model, texts)
        return [(one.label, one.score) for one in found]


class _Guesser:
    """Served models, for labelling."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    async def guess(
        self, principal: Principal, model: str, examples: Sequence[Example]
    ) -> tuple[str, list[Mapping[str, Any]]]:
        inputs = [
            {"text": row.text, "other": row.content["other"]} if "other" in row.content else row.text
            for row in examples
        ]
        found = await self._predictor.run(principal, model, inputs)
        return f"{found.model}:{found.version}", found.rows


class _Encoders:
    """Embedding models of this machine, for the gateway's semantic cache."""

    def __init__(self, models: LanguageModels) -> None:
        self._models = models

    async def embed(self, workspace_id: str, model: str, texts: Sequence[str]) -> "np.ndarray":
        encoder = await self._models.open(workspace_id, model)
        if not isinstance(encoder, Encoder):
            raise NotAnEncoder(f"The model {model!r} makes no embeddings.", hint="Name one of kind `embedding`.")
        vectors, _ = await encoder.embed(texts)
        return vectors


@dataclass(frozen=True, slots=True)
class House:
    """Every room of a running server."""

    settings: Settings
    db: Database
    jobs: Jobs
    bus: Bus
    identity: Identity
    datasets: Datasets
    curation: Curation
    label_queues: Queues
    registry: ModelRegistry
    runs: Runs
    studies: Studies
    versions: Versions
    deployments: Deployments
    pool: Pool
    predictor: Predictor
    language_models: LanguageModels
    file: _SettingsFile
    configuration: Configuration
    prompts: Prompts
    ledger: Ledger
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
    language_models = LanguageModels(
        db,
        home / "cache" / "language-models",
        configured=settings.language_models,
        changed=lambda: bus.publish("language-models"),
        versions=_RegisteredModels(registry),
    )
    file = _SettingsFile(settings)
    configuration = Configuration(
        db,
        settings.gateway,
        file=SETTINGS_FILE,
        read=file.gateway,
        changed=lambda: bus.publish("gateway"),
    )
    prompts = Prompts(db, changed=lambda: bus.publish("prompts"))
    ledger = Ledger(db)
    gateway = Gateway(
        db,
        Secrets(home / "secrets.key"),
        configuration=configuration,
        local=language_models,
        surroundings=Surroundings(
            home=home,
            classifier=_Classifiers(predictor),
            embedder=_Encoders(language_models),
            spending=ledger,
            prompts=prompts,
        ),
        changed=lambda: bus.publish("gateway"),
    )
    knowledge = KnowledgeBases(db, blobs, jobs, sandbox)
    traces = Traces(db)
    services = Services(predictor=predictor, retriever=knowledge, chat=gateway)
    workflows = Workflows(db, Engine(services), traces, changed=lambda: bus.publish("workflows"))
    runs = Runs(
        db,
        jobs,
        datasets,
        registry,
        home / "runs",
        terms=_training_terms(settings.training),
        concurrency=settings.training.concurrency,
    )
    studies = Studies(db, jobs, runs, datasets, registry, home / "runs")
    versions = Versions(registry, jobs, datasets, blobs, home / "versions")
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
    label_queues = Queues(db, datasets, _Guesser(predictor))
    return House(
        settings=settings,
        db=db,
        jobs=jobs,
        bus=bus,
        identity=identity,
        datasets=datasets,
        curation=Curation(
            datasets,
            writer=curation.Writer(gateway),
            lineage=curation.Lineage(registry, runs, label_queues),
            waiting=label_queues,
        ),
        label_queues=label_queues,
        registry=registry,
        runs=runs,
        studies=studies,
        versions=versions,
        deployments=deployments,
        pool=pool,
        predictor=predictor,
        language_models=language_models,
        file=file,
        configuration=configuration,
        prompts=prompts,
        ledger=ledger,
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


def _training_terms(settings: TrainingSettings) -> Terms:
    mlflow = None
    if settings.mlflow_url:
        token = settings.mlflow_token.get_secret_value()
        mlflow = Mlflow(settings.mlflow_url, experiment=settings.mlflow_experiment, token=token)
    return Terms(
        executor=settings.executor,
        threads=settings.threads,
        checkpoint_every_s=settings.checkpoint_every_s,
        keep_checkpoints=settings.keep_checkpoints,
        checkpoint_copy=settings.checkpoint_copy,
        keep_after_success=settings.keep_after_success,
        tensorboard=settings.tensorboard,
        mlflow=mlflow,
    )


async def _start(house: House, closing: AsyncExitStack) -> None:
    closing.push_async_callback(house.pool.close)
    house.ledger.start()
    closing.push_async_callback(asyncio.to_thread, house.ledger.close)
    closing.push_async_callback(house.language_models.close)
    closing.push_async_callback(house.gateway.close)
    _listen(house)
    for refresh in (
        house.identity.refresh,
        house.deployments.refresh,
        house.language_models.refresh,
        house.configuration.refresh,
        house.prompts.refresh,
        house.gateway.refresh,
        house.apps.refresh,
    ):
        refresh()
    house.traces.start()
    closing.callback(house.traces.close)
    house.conversations.start()
    closing.callback(house.conversations.close)
    closing.push_async_callback(asyncio.to_thread, house.jobs.close)
    closing.callback(house.runs.close)
    closing.callback(house.studies.close)
    closing.push_async_callback(asyncio.to_thread, house.versions.close)
    await asyncio.to_thread(house.jobs.launch)
    await asyncio.to_thread(house.knowledge.recover)
    await asyncio.to_thread(house.runs.recover)
    await asyncio.to_thread(house.studies.recover)
    closing.push_async_callback(house.bus.close)
    await house.bus.start()
    closing.push_async_callback(house.loop.close)
    house.loop.start()
    await house.language_models.start()
    warming = asyncio.create_task(asyncio.to_thread(house.knowledge.warm))
    closing.push_async_callback(asyncio.gather, warming)
    _run(_follow_settings(house), closing)
    _run(pulse.watch(), closing)
    if house.settings.llm.url and not await _attach_language_model(house):
        _run(_keep_attaching(house), closing)


def _listen(house: House) -> None:
    """What each room reads again when another server, or this one, has changed it."""
    bus = house.bus
    bus.listen("access", house.identity.refresh)
    bus.listen("deployments", house.deployments.refresh)
    bus.listen("apps", house.apps.refresh)
    bus.listen("workflows", house.workflows.forget)
    bus.listen("prompts", house.prompts.refresh)
    bus.listen("language-models", house.gateway.rebuild)
    bus.listen("gateway", house.configuration.refresh)
    bus.listen("gateway", house.gateway.refresh)


def _run(work: Coroutine[None, None, None], closing: AsyncExitStack) -> None:
    """Work in the background until the house closes."""
    task = asyncio.create_task(work)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    closing.push_async_callback(stop)


async def _follow_settings(house: House) -> None:
    """Take over what changes in the settings file."""
    while True:
        await asyncio.sleep(_LOOK_S)
        try:
            if await asyncio.to_thread(house.configuration.watch):
                await house.language_models.configure(house.file.latest.language_models)
        except Exception:  # the edge of a job: it goes on
            _log.exception("The settings file could not be taken over.")


async def _attach_language_model(house: House) -> bool:
    """Connect the language model that the settings name; a server without it still answers by quoting."""
    llm = house.settings.llm
    try:
        await house.gateway.attach("settings", llm.url, key=llm.key.get_secret_value(), model=llm.model)
    except InhouseError as error:
        _log.warning("The language model of the settings cannot be reached: %s", error)
        return False
    return True


async def _keep_attaching(house: House) -> None:
    """The model server may simply start later than this one."""
    is_attached = False
    while not is_attached:
        await asyncio.sleep(_RETRY_S)
        is_attached = await _attach_language_model(house)
