import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.training.conftest import OPENERS, rows, write_jsonl

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.jobs import Jobs
from inhouse.core.principal import Principal
from inhouse.data.datasets import Datasets
from inhouse.models.registry import ModelRegistry
from inhouse.training.child import FINISHED, main
from inhouse.training.sealed import MANIFEST
from inhouse.training.spec import ARTIFACT, DATASET, SPEC, Spec
from inhouse.training.versions.versions import Versions


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training run of a small classifier, made once."""
    run = tmp_path_factory.mktemp("trained")
    (run / DATASET).mkdir()
    for split, openers in (("train", OPENERS[:2]), ("dev", OPENERS[2:3]), ("test", OPENERS[3:])):
        write_jsonl(run / DATASET / f"{split}.jsonl", rows(openers, split))
    spec = Spec(recipe="classify", config={"epochs": 6, "batch_size": 8}, threads=1, lineage={"dataset": "desk@v1"})
    (run / SPEC).write_text(spec.model_dump_json())
    assert main(run / SPEC) == FINISHED
    return run


@pytest.fixture(scope="session")
def artifact(run_directory: Path) -> Path:
    return run_directory / ARTIFACT


@pytest.fixture
def registry(sqlite: Database, blobs: Blobs, tmp_path: Path, artifact: Path, principal: Principal) -> ModelRegistry:
    """A registry with the classifier as `intent:1`."""
    registry = ModelRegistry(sqlite, blobs, tmp_path / "cache")
    manifest = json.loads((artifact / MANIFEST).read_bytes())
    about = {key: manifest[key] for key in ("kind", "metrics", "lineage")}
    registry.register(principal, "intent", artifact, **about)
    return registry


@pytest.fixture
def versions(
    registry: ModelRegistry, sqlite: Database, blobs: Blobs, tmp_path: Path, principal: Principal
) -> Iterator[Versions]:
    datasets = Datasets(sqlite, blobs)
    table = "\n".join(["text,label", *(f'"{row["text"]}",{row["label"]}' for row in rows(OPENERS, ""))])
    datasets.create(principal, "desk", table.encode(), "desk.csv")
    jobs = Jobs(f"sqlite:///{tmp_path / 'jobs.db'}", poll_s=0.05)
    versions = Versions(registry, jobs, datasets, blobs, tmp_path / "versions")
    jobs.launch()
    yield versions
    versions.close()
    jobs.close()
