"""The durable job behind a run: export the rows, let a child process train, register what it made."""

import json
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from inhouse.core.children import python, spawn
from inhouse.core.db import Database
from inhouse.core.errors import InhouseError, Unavailable
from inhouse.core.events import EventLog
from inhouse.core.ids import now
from inhouse.core.jobs import JobContext, JsonDict
from inhouse.core.principal import Principal
from inhouse.training import store
from inhouse.training.child import FINISHED, STOPPED
from inhouse.training.sealed import MANIFEST
from inhouse.training.spec import ARTIFACT, DATASET, EVENTS, LOG, SPEC, Spec
from inhouse.training.store import Run

TRAIN = "training.run"
LIVES = 3


class TrainingFailed(Unavailable):
    """The training process ended without a model; what it had reached is kept."""


class TrainingInterrupted(Unavailable):
    """The server is stopping; the run goes on when it is back."""


class Version(Protocol):
    """A version of a dataset or a model."""

    @property
    def number(self) -> int: ...

    @property
    def digest(self) -> str: ...


class DatasetExport(Protocol):
    """Where training rows come from."""

    def get(self, principal: Principal, name: str, number: int | None = None) -> Version: ...

    def export(self, principal: Principal, name: str, number: int, directory: Path) -> Version: ...


class ModelShelf(Protocol):
    """Where models go. The same `run_id` in the lineage registers once."""

    def register(
        self,
        principal: Principal,
        name: str,
        directory: Path,
        *,
        kind: str,
        metrics: Mapping[str, Any],
        lineage: Mapping[str, Any],
    ) -> Version: ...


def job_id(run: Run) -> str:
    """One job per attempt, however often it is submitted."""
    return f"{run.id}.{run.attempt}"


class Training:
    """Runs trainings. After a crash the job starts over, and the child process goes on from its checkpoint."""

    def __init__(
        self, db: Database, datasets: DatasetExport, models: ModelShelf, directory: Path, *, threads: int
    ) -> None:
        self._db = db
        self._datasets = datasets
        self._models = models
        self._directory = directory
        self._threads = threads
        self._children: set[subprocess.Popen[bytes]] = set()
        self._closing = threading.Event()

    def close(self) -> None:
        """End the children; their runs stay as they are, to go on after the next start."""
        self._closing.set()
        for child in list(self._children):
            child.kill()

    def run(self, _context: JobContext, arguments: JsonDict) -> JsonDict | None:
        principal = Principal.system(arguments["workspace_id"])
        with self._db.write() as conn:
            run = store.find_run(conn, principal, arguments["run_id"])
            if run is None or run.attempt != arguments["attempt"] or run.has_ended:
                return None  # stopped before it began, or ended before a crash
            run = store.update_run(conn, run, status="running", started_at=run.started_at or now())
        try:
            changes = self._train(principal, run)
        except TrainingInterrupted:
            raise
        except InhouseError as error:
            self._end(run, status="failed", error=f"{error.message} {error.hint}".strip())
            raise
        except Exception:
            self._end(run, status="failed", error="It failed unexpectedly; see the server's log.")
            raise
        self._end(run, **changes)
        return {"model_version": changes.get("model_version")}

    def _train(self, principal: Principal, run: Run) -> dict[str, Any]:
        """Return what to note on the run."""
        directory = self._directory / run.id
        version = self._datasets.export(principal, run.dataset, run.dataset_version, directory / DATASET)
        lineage = {
            "run_id": run.id,
            "dataset": f"{run.dataset}@v{run.dataset_version}",
            "dataset_digest": version.digest,
        }
        spec = Spec(recipe=run.recipe, config=run.config, seed=run.seed, threads=self._threads, lineage=lineage)
        (directory / SPEC).write_text(spec.model_dump_json(indent=1), encoding="utf-8")
        code = self._run_child(directory)
        if code == STOPPED:
            return {"status": "stopped"}
        if code != FINISHED:
            raise _failure(directory, code)
        manifest = json.loads((directory / ARTIFACT / MANIFEST).read_bytes())
        about = {key: manifest[key] for key in ("kind", "metrics", "lineage")}
        model = self._models.register(principal, run.model, directory / ARTIFACT, **about)
        return {"status": "succeeded", "metrics": manifest["metrics"], "model_version": model.number}

    def _run_child(self, directory: Path) -> int:
        """Return the child's exit code. One that was killed, as for want of memory, is given another life."""
        code = 0
        for _ in range(LIVES):
            with (directory / LOG).open("ab") as log:
                child = spawn(python("inhouse.training.child", str(directory / SPEC)), stdout=log, stderr=log)
            self._children.add(child)
            if self._closing.is_set():
                child.kill()
            code = child.wait()
            self._children.discard(child)
            if self._closing.is_set():
                raise TrainingInterrupted("The server is stopping.", hint="The run goes on when it is back.")
            if code >= 0:
                break
        return code

    def _end(self, run: Run, **changes: Any) -> None:
        with self._db.write() as conn:
            store.update_run(conn, run, ended_at=now(), **changes)


def _failure(directory: Path, code: int) -> TrainingFailed:
    """Say why: in the child's own words when it had any."""
    last = next(reversed(EventLog(directory / EVENTS).read()), {"type": ""})
    if last["type"] == "failed":
        return TrainingFailed(last["message"], hint=last["hint"])
    reason = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return TrainingFailed(f"The training process {reason}.", hint="Resume the run; it goes on from its checkpoint.")
