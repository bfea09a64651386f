"""Studies: start, watch and stop a search. Its trials are runs; the best one becomes a version of the model."""

import json
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from inhouse.core.db import Database
from inhouse.core.errors import Conflict, InhouseError, Invalid, NotFound
from inhouse.core.ids import new_id, now
from inhouse.core.jobs import JobContext, Jobs, JsonDict, UnknownJob
from inhouse.core.principal import Principal
from inhouse.models.registry import check_name
from inhouse.training.jobs import DatasetExport, ModelShelf
from inhouse.training.recipe import configure
from inhouse.training.runs import RunHasEnded, Runs
from inhouse.training.sealed import MANIFEST
from inhouse.training.spec import ARTIFACT, CHECKPOINTS
from inhouse.training.store import Run
from inhouse.training.studies import store
from inhouse.training.studies.search import COMPLETE, FAILED, PRUNED, RUNNING, Objective, Pruner, Search, Trial
from inhouse.training.studies.space import Range, read_space
from inhouse.training.studies.store import Study

STUDY = "training.study"
_POLL_S = 0.25
_LIFE = "life"
_HOPELESS = 3
"""When so many trials failed and none did not, the fault lies with what they share."""


class StudyNotFound(NotFound):
    """No study has that id."""


class StudyHasEnded(Conflict):
    """Only a study that is under way can be stopped."""


class NothingFound(Invalid):
    """No trial came to an end that could be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How far a search may go: so many trials, so many minutes (0 is no limit), so many at a time."""

    trials: int = 20
    minutes: float = 0.0
    parallel: int = 1
    pruner: Pruner = "median"


class Studies:
    """All studies of an installation. Make it before the job runner is launched."""

    def __init__(
        self, db: Database, jobs: Jobs, runs: Runs, datasets: DatasetExport, models: ModelShelf, directory: Path
    ) -> None:
        self.db = db
        self._jobs = jobs
        self._runs = runs
        self._datasets = datasets
        self._models = models
        self._directory = directory
        self._closing = threading.Event()
        jobs.register(STUDY, self._run, concurrency=2)

    def recover(self) -> None:
        """After the job runner is launched: take up again what no job is working on any more."""
        with self.db.read() as conn:
            waiting = store.unfinished(conn)
        for study in waiting:
            if not self._is_alive(study):
                with self.db.write() as conn:
                    again = {**study.budget, _LIFE: study.budget[_LIFE] + 1}
                    study = store.update_study(conn, study, budget=again)
                self._submit(study)

    def close(self) -> None:
        """Leave every study as it is; it goes on after the next `recover()`."""
        self._closing.set()

    def start(
        self,
        principal: Principal,
        *,
        recipe: str,
        dataset: str,
        model: str,
        version: int | None = None,
        config: Mapping[str, Any] | None = None,
        space: Mapping[str, Any] | None = None,
        seed: int = 0,
        objective: Objective = "accuracy",
        budget: Budget = Budget(),
    ) -> Study:
        """Queue a search after checking it; over the space that suits the recipe unless one is given."""
        settled = dict(config or {})
        configure(recipe, settled)
        check_name(model)
        searched = read_space(recipe, settled, space or {})
        study = Study(
            id=new_id("study"),
            workspace_id=principal.workspace_id,
            owner_id=principal.user_id,
            created_at=now(),
            recipe=recipe,
            config=settled,
            space={name: where.model_dump(exclude_defaults=True) for name, where in searched.items()},
            dataset=dataset,
            dataset_version=self._datasets.get(principal, dataset, version).number,
            model=model,
            seed=seed,
            objective=objective,
            budget={**asdict(budget), _LIFE: 1},
        )
        with self.db.write() as conn:
            store.insert_study(conn, study)
        self._submit(study)
        return study

    def get(self, principal: Principal, study_id: str) -> Study:
        with self.db.read() as conn:
            return _found(store.find_study(conn, principal, study_id), study_id)

    def list(self, principal: Principal, *, limit: int = 100) -> list[Study]:
        """Newest first."""
        with self.db.read() as conn:
            return store.list_studies(conn, principal, limit=limit)

    def trials(self, principal: Principal, study: Study) -> Sequence[Trial]:
        with self.db.read() as conn:
            runs = store.trials_of(conn, principal, study.id)
        return [self._trial(principal, study, run) for run in runs]

    def stop(self, principal: Principal, study_id: str) -> Study:
        """Start nothing more, end what is training, and keep the best so far."""
        with self.db.write() as conn:
            study = _found(store.find_study(conn, principal, study_id), study_id)
            if study.has_ended:
                raise StudyHasEnded(f"The study {study_id!r} has ended already ({study.status}).")
            return store.update_study(conn, study, status="stopping")

    def _run(self, _context: JobContext, arguments: JsonDict) -> None:
        principal = Principal(arguments["workspace_id"], arguments["user_id"], frozenset({"*"}))
        with self.db.write() as conn:
            study = _found(store.find_study(conn, principal, arguments["study_id"]), arguments["study_id"])
            if study.has_ended:
                return
            status = "stopping" if study.status == "stopping" else "running"
            study = store.update_study(conn, study, status=status, started_at=study.started_at or now())
        try:
            while not self._step(principal, study):
                if self._closing.wait(_POLL_S):
                    return
            changes = self._conclude(principal, self.get(principal, study.id))
        except InhouseError as error:
            changes = {"status": "failed", "error": f"{error.message} {error.hint}".strip()}
        with self.db.write() as conn:
            store.update_study(conn, study, ended_at=now(), **changes)

    def _step(self, principal: Principal, study: Study) -> bool:
        """Look at the trials, end the hopeless ones and start new ones. True when the study is over."""
        study = self.get(principal, study.id)
        budget, search = _budget(study), _search(study)
        trials = self.trials(principal, study)
        running = [trial for trial in trials if trial.state == RUNNING]
        spent = budget.minutes and now() - (study.started_at or now()) >= 60 * budget.minutes
        failed = [trial for trial in trials if trial.state == FAILED]
        is_hopeless = len(failed) >= _HOPELESS and len(failed) == len(trials) - len(running)
        if study.status == "stopping" or spent or is_hopeless:
            self._end(principal, running)
            return not running
        self._end(principal, [one for one in running if one.reports and search.is_hopeless(trials, one.number)])
        if len(trials) < budget.trials and len(running) < budget.parallel:
            self._runs.start(
                principal,
                recipe=study.recipe,
                dataset=study.dataset,
                model=study.model,
                version=study.dataset_version,
                config={**study.config, **search.suggest(trials)},
                seed=study.seed,
                study_id=study.id,
                trial=len(trials),
            )
            return False
        return not running

    def _conclude(self, principal: Principal, study: Study) -> dict[str, Any]:
        """Register the best trial's model and make room: what the others made is not needed."""
        trials = self.trials(principal, study)
        best = _search(study).best(trials)
        for trial in trials:
            if best is None or trial.run_id != best.run_id:
                for name in (ARTIFACT, CHECKPOINTS):
                    shutil.rmtree(self._directory / trial.run_id / name, ignore_errors=True)
        if best is None:
            if study.status == "stopping":
                return {"status": "stopped"}
            reason = next((trial.error for trial in reversed(trials) if trial.error), "")
            raise NothingFound(
                f"None of {len(trials)} trials could be judged. {reason}".strip(),
                hint="" if reason else "Hold rows out as dev: they are what trials are compared on.",
            )
        artifact = self._directory / best.run_id / ARTIFACT
        manifest = json.loads((artifact / MANIFEST).read_bytes())
        lineage = {**manifest["lineage"], "study_id": study.id}
        version = self._models.register(
            principal, study.model, artifact, kind=manifest["kind"], metrics=manifest["metrics"], lineage=lineage
        )
        with self.db.write() as conn:
            store.note_version(conn, self._runs.get(principal, best.run_id), version.number)
        status = "stopped" if study.status == "stopping" else "succeeded"
        return {"status": status, "best_run": best.run_id, "model_version": version.number}

    def _end(self, principal: Principal, trials: Sequence[Trial]) -> None:
        for trial in trials:
            try:
                self._runs.stop(principal, trial.run_id)
            except RunHasEnded:
                continue

    def _trial(self, principal: Principal, study: Study, run: Run) -> Trial:
        states = {"succeeded": COMPLETE, "stopped": PRUNED, "failed": FAILED}
        reports = {
            event["epoch"]: float(event[study.objective])
            for event in self._runs.events(principal, run.id)
            if event["type"] == "eval" and event.get("split") == "dev" and study.objective in event
        }
        params = {name: run.config[name] for name in study.space if name in run.config}
        state = states.get(run.status, RUNNING)
        return Trial(run.trial or 0, run.id, state, params, reports, error=run.error)

    def _submit(self, study: Study) -> None:
        arguments = {"workspace_id": study.workspace_id, "user_id": study.owner_id, "study_id": study.id}
        self._jobs.submit(STUDY, arguments, job_id=_job_id(study))

    def _is_alive(self, study: Study) -> bool:
        try:
            return self._jobs.get(_job_id(study)).status in ("queued", "running")
        except UnknownJob:
            return False


def _job_id(study: Study) -> str:
    """A job that ended with the server's life is followed by another."""
    return f"{study.id}.{study.budget[_LIFE]}"


def _budget(study: Study) -> Budget:
    return Budget(**{name: value for name, value in study.budget.items() if name != _LIFE})


def _search(study: Study) -> Search:
    space = {name: Range.model_validate(where) for name, where in study.space.items()}
    pruner = cast("Pruner", study.budget["pruner"])
    return Search(space, objective=cast("Objective", study.objective), pruner=pruner, seed=study.seed)


def _found(study: Study | None, study_id: str) -> Study:
    if study is None:
        raise StudyNotFound(f"There is no study {study_id!r}.", hint="List them with GET /studies.")
    return study
