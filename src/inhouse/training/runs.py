"""Training runs: start, watch, stop and resume them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inhouse.core.db import Database
from inhouse.core.errors import Conflict, NotFound
from inhouse.core.events import EventLog
from inhouse.core.ids import new_id, now
from inhouse.core.jobs import Jobs, UnknownJob
from inhouse.core.principal import Principal
from inhouse.models.registry import check_name
from inhouse.training import store
from inhouse.training.comparison import Curve, curves
from inhouse.training.jobs import TRAIN, DatasetExport, ModelShelf, Terms, Training, job_id
from inhouse.training.recipe import configure
from inhouse.training.spec import EVENTS, STOP
from inhouse.training.store import Run


class RunNotFound(NotFound):
    """No run has that id."""


class RunHasEnded(Conflict):
    """Only a run that is queued or running can be stopped."""


class RunNotResumable(Conflict):
    """Only a run that was stopped or failed can go on."""


class Runs:
    """All training runs of an installation. Make it before the job runner is launched."""

    def __init__(
        self,
        db: Database,
        jobs: Jobs,
        datasets: DatasetExport,
        models: ModelShelf,
        directory: Path,
        *,
        terms: Terms = Terms(),
        concurrency: int = 1,
    ) -> None:
        self.db = db
        self._jobs = jobs
        self._datasets = datasets
        self._directory = directory
        self._training = Training(db, datasets, models, directory, terms)
        jobs.register(TRAIN, self._training.run, concurrency=concurrency)

    def recover(self) -> None:
        """After the job runner is launched: queue again what no job is working on any more."""
        with self.db.read() as conn:
            waiting = store.unfinished(conn)
        for run in waiting:
            if self._is_abandoned(run):
                self._queue_again(run)

    def close(self) -> None:
        """Interrupt what is training; it goes on after the next `recover()`."""
        self._training.close()

    def start(
        self,
        principal: Principal,
        *,
        recipe: str,
        dataset: str,
        model: str,
        version: int | None = None,
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
        processes: int = 1,
        study_id: str | None = None,
        trial: int | None = None,
    ) -> Run:
        """Queue a run after checking its settings; the latest version of the dataset by default.

        Several `processes` share each batch, on a GPU each where there are any. What a trial of a study makes
        is for the study to register.
        """
        configure(recipe, dict(config or {}))
        check_name(model)
        run = Run(
            id=new_id("run"),
            workspace_id=principal.workspace_id,
            owner_id=principal.user_id,
            created_at=now(),
            recipe=recipe,
            config=dict(config or {}),
            dataset=dataset,
            dataset_version=self._datasets.get(principal, dataset, version).number,
            model=model,
            seed=seed,
            processes=processes,
            study_id=study_id,
            trial=trial,
        )
        with self.db.write() as conn:
            store.insert_run(conn, run)
        self._submit(run)
        return run

    def get(self, principal: Principal, run_id: str) -> Run:
        with self.db.read() as conn:
            return _found(store.find_run(conn, principal, run_id), run_id)

    def list(self, principal: Principal, *, limit: int = 100) -> list[Run]:
        """Newest first."""
        with self.db.read() as conn:
            return store.list_runs(conn, principal, limit=limit)

    def events(self, principal: Principal, run_id: str, after: int = 0) -> Sequence[dict[str, Any]]:
        """What the run has reported since event number `after`."""
        return EventLog(self._directory / self.get(principal, run_id).id / EVENTS).read(after)

    def curves(self, principal: Principal, run_id: str) -> dict[str, Curve]:
        """The curves `train` and `dev`, thinned out for a picture."""
        return curves(self.events(principal, run_id))

    def stop(self, principal: Principal, run_id: str) -> Run:
        """Let the run save itself and stop. A queued run stops at once."""
        with self.db.write() as conn:
            run = _found(store.find_run(conn, principal, run_id), run_id)
            if run.has_ended:
                raise RunHasEnded(f"The run {run_id!r} has ended already ({run.status}).")
            if run.status == "queued":
                return store.update_run(conn, run, status="stopped", ended_at=now())
        directory = self._directory / run.id
        directory.mkdir(parents=True, exist_ok=True)
        (directory / STOP).touch()
        return run

    def resume(self, principal: Principal, run_id: str) -> Run:
        """Let a stopped or failed run go on from its newest checkpoint."""
        run = self.get(principal, run_id)
        if run.status not in ("stopped", "failed"):
            raise RunNotResumable(
                f"The run {run_id!r} is {run.status}.", hint="Only a run that stopped or failed can be resumed."
            )
        (self._directory / run.id / STOP).unlink(missing_ok=True)
        return self._queue_again(run)

    def _queue_again(self, run: Run) -> Run:
        """Each attempt is a job of its own."""
        with self.db.write() as conn:
            run = store.update_run(conn, run, status="queued", attempt=run.attempt + 1, error="", ended_at=None)
        self._submit(run)
        return run

    def _is_abandoned(self, run: Run) -> bool:
        try:
            return self._jobs.get(job_id(run)).status not in ("queued", "running")
        except UnknownJob:
            return True

    def _submit(self, run: Run) -> None:
        arguments = {"workspace_id": run.workspace_id, "run_id": run.id, "attempt": run.attempt}
        self._jobs.submit(TRAIN, arguments, job_id=job_id(run))


def _found(run: Run | None, run_id: str) -> Run:
    if run is None:
        raise RunNotFound(f"There is no run {run_id!r}.", hint="List them with GET /runs.")
    return run
