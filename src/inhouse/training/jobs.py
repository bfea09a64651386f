"""The durable job behind a run: export the rows, let a child process train, register what it made."""

import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inhouse.core.db import Database
from inhouse.core.errors import InhouseError, Unavailable
from inhouse.core.events import EventLog
from inhouse.core.ids import now
from inhouse.core.jobs import JobContext, JsonDict
from inhouse.core.principal import Principal
from inhouse.training import store
from inhouse.training.child import FINISHED, STOPPED
from inhouse.training.executor import TrainingInterrupted, executors
from inhouse.training.mirror import Mirror, MirrorAway
from inhouse.training.mlflow import Mlflow
from inhouse.training.sealed import MANIFEST
from inhouse.training.spec import ARTIFACT, CHECKPOINTS, DATASET, EVENTS, SPEC, Spec
from inhouse.training.store import Run

TRAIN = "training.run"
_log = logging.getLogger(__name__)


class TrainingFailed(Unavailable):
    """The training process ended without a model; what it had reached is kept."""


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


@dataclass(frozen=True, slots=True)
class Terms:
    """How runs are carried out here. `threads` are shared by the processes of a run."""

    executor: str = "local"
    threads: int = 2
    checkpoint_every_s: float = 10.0
    keep_checkpoints: int = 2
    checkpoint_copy: str = ""
    keep_after_success: bool = False
    tensorboard: bool = True
    mlflow: Mlflow | None = None


def job_id(run: Run) -> str:
    """One job per attempt, however often it is submitted."""
    return f"{run.id}.{run.attempt}"


class Training:
    """Runs trainings. After a crash the job starts over, and the child process goes on from its checkpoint."""

    def __init__(
        self, db: Database, datasets: DatasetExport, models: ModelShelf, directory: Path, terms: Terms
    ) -> None:
        self._db = db
        self._datasets = datasets
        self._models = models
        self._directory = directory
        self._terms = terms
        self._executor = executors[terms.executor]()

    def close(self) -> None:
        """End the children; their runs stay as they are, to go on after the next start."""
        self._executor.close()

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
        spec = self._spec(run, lineage)
        (directory / SPEC).write_text(spec.model_dump_json(indent=1), encoding="utf-8")
        mlflow = self._terms.mlflow
        with mlflow.following(run, directory) if mlflow else nullcontext():
            code = self._executor.run(directory, spec)
        if code == STOPPED:
            return {"status": "stopped"}
        if code != FINISHED:
            raise _failure(directory, code)
        manifest = json.loads((directory / ARTIFACT / MANIFEST).read_bytes())
        if run.study_id:
            self._clear(directory)
            return {"status": "succeeded", "metrics": manifest["metrics"]}
        about = {key: manifest[key] for key in ("kind", "metrics", "lineage")}
        model = self._models.register(principal, run.model, directory / ARTIFACT, **about)
        if not self._terms.keep_after_success:
            self._clear(directory)
        return {"status": "succeeded", "metrics": manifest["metrics"], "model_version": model.number}

    def _clear(self, directory: Path) -> None:
        """Remove the checkpoints, here and in their second place; the events stay, and the curves."""
        shutil.rmtree(directory / CHECKPOINTS, ignore_errors=True)
        if self._terms.checkpoint_copy:
            try:
                Mirror(self._terms.checkpoint_copy, directory.name).clear()
            except MirrorAway as error:
                _log.warning("The copied checkpoints of %s are still there: %s", directory.name, error)

    def _spec(self, run: Run, lineage: dict[str, Any]) -> Spec:
        terms = self._terms
        return Spec(
            recipe=run.recipe,
            config=run.config,
            seed=run.seed,
            threads=max(1, terms.threads // run.processes),
            processes=run.processes,
            checkpoint_every_s=terms.checkpoint_every_s,
            keep_checkpoints=terms.keep_checkpoints,
            checkpoint_copy=terms.checkpoint_copy,
            tensorboard=terms.tensorboard,
            lineage=lineage,
        )

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
