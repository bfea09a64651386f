import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.jobs import Jobs
from inhouse.core.principal import Principal
from inhouse.data.datasets import Datasets
from inhouse.models.registry import ModelRegistry
from inhouse.training.jobs import Terms
from inhouse.training.runs import Runs
from inhouse.training.spec import DATASET, SPEC, Spec

PHRASES = {
    "leave": ["days off", "annual leave", "holiday balance", "请假几天", "年假余额", "vacation days left"],
    "password": ["reset my password", "password expired", "forgot the password", "重置密码", "密码过期了", "忘记密码"],
    "printer": ["printer jammed", "the printer is empty", "print in colour", "打印机卡纸", "打印机没墨了", "彩色打印"],
}
OPENERS = ["", "please help: ", "hello, ", "请问"]

Prepare = Callable[..., Path]


def rows(openers: Iterable[str], prefix: str) -> list[dict[str, str]]:
    return [
        {"id": f"{prefix}-{label}-{i}-{j}", "text": opener + phrase, "label": label, "source": "import"}
        for label, phrases in PHRASES.items()
        for i, phrase in enumerate(phrases)
        for j, opener in enumerate(openers)
    ]


def write_jsonl(path: Path, content: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content), encoding="utf-8")


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Make a run directory with a tiny bilingual dataset and return its spec file."""

    def make(name: str = "run", *, train: list[dict[str, str]] | None = None, **spec: Any) -> Path:
        run = tmp_path / name
        dataset = run / DATASET
        dataset.mkdir(parents=True)
        write_jsonl(dataset / "train.jsonl", rows(OPENERS[:2], "train") if train is None else train)
        write_jsonl(dataset / "dev.jsonl", rows(OPENERS[2:3], "dev"))
        write_jsonl(dataset / "test.jsonl", rows(OPENERS[3:], "test"))
        settings = {"recipe": "classify", "config": {"epochs": 6, "batch_size": 8}, "threads": 1, **spec}
        (run / SPEC).write_text(Spec(**settings).model_dump_json())
        return run / SPEC

    return make


@pytest.fixture
def start_runs(sqlite: Database, blobs: Blobs, tmp_path: Path) -> Iterator[Callable[[], Runs]]:
    """Start the training room as a server does, on real datasets, jobs and models; starting again stops the last."""
    closing: list[Callable[[], None]] = []

    def stop() -> None:
        while closing:
            closing.pop(0)()

    def start() -> Runs:
        stop()
        jobs = Jobs(f"sqlite:///{tmp_path / 'jobs.db'}", poll_s=0.05)
        models = ModelRegistry(sqlite, blobs, tmp_path / "cache")
        runs = Runs(
            sqlite, jobs, Datasets(sqlite, blobs), models, tmp_path / "runs", terms=Terms(threads=1), concurrency=1
        )
        jobs.launch()
        runs.recover()
        closing.extend([runs.close, jobs.close])
        return runs

    yield start
    stop()


@pytest.fixture
def runs(start_runs: Callable[[], Runs], sqlite: Database, blobs: Blobs, principal: Principal) -> Runs:
    """The training room with a dataset `desk`."""
    table = "\n".join(["text,label", *(f'"{row["text"]}",{row["label"]}' for row in rows(OPENERS, ""))])
    Datasets(sqlite, blobs).create(principal, "desk", table.encode(), "desk.csv")
    return start_runs()
