from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.training.conftest import OPENERS, rows

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.jobs import Jobs
from inhouse.core.principal import Principal
from inhouse.data.datasets import Datasets
from inhouse.models.registry import ModelRegistry
from inhouse.training.jobs import Terms
from inhouse.training.runs import Runs
from inhouse.training.studies.studies import Studies


@pytest.fixture
def registry(sqlite: Database, blobs: Blobs, tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(sqlite, blobs, tmp_path / "cache")


@pytest.fixture
def start_studies(
    sqlite: Database, blobs: Blobs, tmp_path: Path, registry: ModelRegistry, principal: Principal
) -> Iterator[Callable[[], Studies]]:
    """Start the training room as a server does, with a dataset `desk`; starting again stops the last."""
    datasets = Datasets(sqlite, blobs)
    table = "\n".join(["text,label", *(f'"{row["text"]}",{row["label"]}' for row in rows(OPENERS, ""))])
    datasets.create(principal, "desk", table.encode(), "desk.csv")
    closing: list[Callable[[], None]] = []

    def stop() -> None:
        while closing:
            closing.pop(0)()

    def start() -> Studies:
        stop()
        jobs = Jobs(f"sqlite:///{tmp_path / 'jobs.db'}", poll_s=0.05)
        runs = Runs(sqlite, jobs, datasets, registry, tmp_path / "runs", terms=Terms(threads=1), concurrency=2)
        studies = Studies(sqlite, jobs, runs, datasets, registry, tmp_path / "runs")
        jobs.launch()
        runs.recover()
        studies.recover()
        closing.extend([studies.close, runs.close, jobs.close])
        return studies

    yield start
    stop()


@pytest.fixture
def studies(start_studies: Callable[[], Studies]) -> Studies:
    return start_studies()
