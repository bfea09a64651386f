"""The loop's rooms, all real but for training: versions are tiny classifiers made on the spot."""

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from inhouse.apps.conversations import Conversations
from inhouse.apps.feedback import Feedbacks
from inhouse.apps.store import Intent, Message, Opinion
from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.ids import new_id, now
from inhouse.core.jobs import Jobs
from inhouse.core.principal import Principal
from inhouse.data.datasets import Datasets
from inhouse.loop.loop import Loop
from inhouse.models.registry import ModelRegistry
from inhouse.models.store import ModelVersion
from inhouse.serving.deployments import Deployments
from inhouse.serving.pool import Pool
from inhouse.serving.predictor import Predictor
from inhouse.testing.models import tiny_classifier
from inhouse.training.runs import Runs

MODEL, DATASET = "intent", "desk"
LABELS = ["leave", "travel", "token"]
WORDS = {"holiday": "leave", "vacation": "leave", "hotel": "travel", "flight": "travel", "token": "token"}
CSV = "text,label\n" + "".join(f"{word} number {n},{label}\n" for word, label in WORDS.items() for n in range(12))


class Registered:
    """Finds the pool's model directories in the registry."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def resolve(self, workspace_id: str, name: str, version: int) -> Path:
        return self._registry.directory(Principal.system(workspace_id), name, version)


@dataclass
class Rooms:
    """What the tests turn on."""

    loop: Loop
    datasets: Datasets
    registry: ModelRegistry
    deployments: Deployments
    predictor: Predictor
    conversations: Conversations
    feedbacks: Feedbacks
    folder: Path

    def add_version(
        self, who: Principal, keywords: dict[str, str], *, taught: int = 1, dataset: str = ""
    ) -> ModelVersion:
        """Register a version that knows these words."""
        directory = tiny_classifier(self.folder / new_id("artifact"), LABELS, keywords)
        lineage = {"dataset": dataset or f"{DATASET}@v{taught}", "recipe": "classify", "config": {}, "seed": 0}
        version = self.registry.register(who, MODEL, directory, kind="classify", metrics={}, lineage=lineage)
        shutil.rmtree(directory)
        return version

    def answer(self, who: Principal, query: str, *, label: str, version: int = 1, status: str = "succeeded") -> Message:
        """A message as the chat app records it."""
        thread = self.conversations.begin(who, "helpdesk", query)
        message = Message(
            id=new_id("message"),
            conversation_id=thread.conversation.id,
            workspace_id=who.workspace_id,
            owner_id=who.user_id,
            app="helpdesk",
            query=query,
            answer="…",
            status=status,
            error=None,
            sources=[],
            intent=Intent(label, 0.5, True, MODEL, version),
            trace_id=new_id("trace"),
            workflow="helpdesk",
            workflow_version=1,
            model_versions={MODEL: version},
            created_at=now(),
            duration_ms=1.0,
        )
        self.conversations.record(thread, message)
        return message

    def correct(self, who: Principal, query: str, *, said: str, label: str | None) -> str:
        """Somebody asks, gets `said`, and gives a thumbs-down with the right label. Returns the feedback's id."""
        message = self.answer(who, query, label=said)
        return self.feedbacks.give(who, message.id, Opinion("down", corrected_label=label)).id


@pytest.fixture
def rooms(db: Database, blobs: Blobs, tmp_path: Path) -> Iterator[Rooms]:
    datasets, registry = Datasets(db, blobs), ModelRegistry(db, blobs, tmp_path / "cache")
    deployments, conversations = Deployments(db), Conversations(db)
    predictor = Predictor(Pool(Registered(registry)), deployments)
    feedbacks = Feedbacks(db, conversations, burst=1000)
    runs = Runs(db, Jobs(f"sqlite:///{tmp_path / 'jobs.db'}"), datasets, registry, tmp_path / "runs")
    loop = Loop(
        db,
        datasets=datasets,
        registry=registry,
        runs=runs,
        predictor=predictor,
        deployments=deployments,
        feedbacks=feedbacks,
        changed=deployments.refresh,
    )
    conversations.start()
    yield Rooms(loop, datasets, registry, deployments, predictor, conversations, feedbacks, tmp_path)
    conversations.close()


@pytest_asyncio.fixture
async def live(rooms: Rooms, principal: Principal) -> AsyncIterator[Rooms]:
    """Version 1 is live; it has never heard of tokens."""
    rooms.datasets.create(principal, DATASET, CSV.encode(), "rows.csv")
    rooms.add_version(principal, {word: label for word, label in WORDS.items() if word != "token"})
    await rooms.loop.releases.start(principal, MODEL, 1)
    yield rooms
