"""Wire shapes of studies."""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, Field

from inhouse.training.studies.search import Objective, Pruner, Trial
from inhouse.training.studies.store import Study
from inhouse.training.studies.studies import Budget

_BUDGET = ("trials", "minutes", "parallel", "pruner")


class NewStudy(BaseModel):
    """What to search: the space that suits the recipe unless one is given, on the latest version of the dataset.

    `space` maps settings to `{"low", "high", "log"}` or `{"choices"}`; `config` settles the others.
    """

    recipe: str = "classify"
    dataset: str
    version: int | None = Field(default=None, ge=1)
    model: str = Field(min_length=1, max_length=120)
    config: dict[str, Any] = {}
    space: dict[str, dict[str, Any]] = {}
    seed: int = Field(default=0, ge=0, lt=2**31)
    objective: Objective = "accuracy"
    trials: int = Field(default=20, ge=1, le=1000)
    minutes: float = Field(default=0.0, ge=0, le=100_000)
    parallel: int = Field(default=1, ge=1, le=64)
    pruner: Pruner = "median"

    def wishes(self) -> dict[str, Any]:
        """As `Studies.start` takes them."""
        budget = Budget(trials=self.trials, minutes=self.minutes, parallel=self.parallel, pruner=self.pruner)
        return {**{name: value for name, value in dict(self).items() if name not in _BUDGET}, "budget": budget}


class TrialOut(BaseModel):
    """One run of the study: `state` is running, complete, pruned or failed; `value` is its best on the dev rows."""

    number: int
    run_id: str
    state: str
    value: float | None
    config: dict[str, Any]


class StudyOut(BaseModel):
    """A search: `status` is queued, running, stopping, succeeded, failed or stopped."""

    id: str
    recipe: str
    config: dict[str, Any]
    space: dict[str, Any]
    dataset: str
    dataset_version: int
    model: str
    seed: int
    objective: Objective
    budget: dict[str, Any]
    status: str
    error: str
    best_run: str | None
    model_version: int | None
    owner_id: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    trials: list[TrialOut]

    @classmethod
    def of(cls, study: Study, trials: Sequence[Trial] = ()) -> Self:
        values = {name: getattr(study, name) for name in cls.model_fields if name not in ("trials", "budget")}
        budget = {name: study.budget[name] for name in _BUDGET}
        objective: Objective = "loss" if study.objective == "loss" else "accuracy"
        shown = [
            TrialOut(
                number=trial.number,
                run_id=trial.run_id,
                state=trial.state,
                value=trial.best(objective),
                config=dict(trial.params),
            )
            for trial in trials
        ]
        return cls(**values, budget=budget, trials=shown)


class StudyList(BaseModel):
    """Studies without their trials."""

    items: list[StudyOut]
