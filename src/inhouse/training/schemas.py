"""Wire shapes of recipes and runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, Field

from inhouse.data.examples import Form
from inhouse.training import comparison
from inhouse.training.comparison import Curve, Line
from inhouse.training.recipe import LANGUAGES, Recipe
from inhouse.training.store import Run


class RecipeOut(BaseModel):
    """A recipe as a form: JSON schema of its settings, and title, description and fields per language."""

    name: str
    forms: list[Form] = Field(description="The forms of rows that it learns from.")
    missing: str = Field(description="The command that installs what it needs; empty when all is there.")
    settings: dict[str, Any]
    texts: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, recipe: type[Recipe]) -> Self:
        texts = {language: recipe.texts(language) for language in LANGUAGES}
        return cls(
            name=recipe.name,
            forms=list(recipe.forms),
            missing=recipe.missing(),
            settings=recipe.model_json_schema(),
            texts=texts,
        )


class RecipeList(BaseModel):
    items: list[RecipeOut]


class NewRun(BaseModel):
    """What to train: the latest version of the dataset unless one is named."""

    recipe: str = "classify"
    dataset: str
    version: int | None = Field(default=None, ge=1)
    model: str = Field(min_length=1, max_length=120)
    config: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**31)
    processes: int = Field(default=1, ge=1, le=64, description="How many share each batch, on a GPU each if there are.")


class RunOut(BaseModel):
    id: str
    name: str
    recipe: str
    config: dict[str, Any]
    dataset: str
    dataset_version: int
    model: str
    model_version: int | None
    seed: int
    status: str
    attempt: int
    error: str
    metrics: dict[str, Any]
    owner_id: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    processes: int
    study_id: str | None
    trial: int | None

    @classmethod
    def of(cls, run: Run) -> Self:
        return cls(**{name: getattr(run, name) for name in cls.model_fields})


class RunList(BaseModel):
    items: list[RunOut]


class EventList(BaseModel):
    """Events of a run: `seq`, `ts`, `type` and what belongs to the type."""

    items: list[dict[str, Any]]


class LineOut(BaseModel):
    """A setting or metric: its value in each run, in the order of the runs."""

    name: str
    values: list[Any]
    differs: bool


class CurvesOut(BaseModel):
    """Columns of one length each: `step`, `loss` and what else was measured."""

    train: dict[str, list[float | None]]
    dev: dict[str, list[float | None]]


class ComparisonOut(BaseModel):
    """Runs side by side. `curves` are by the id of the run."""

    runs: list[RunOut]
    settings: list[LineOut]
    metrics: list[LineOut]
    curves: dict[str, CurvesOut]

    @classmethod
    def of(cls, runs: Sequence[Run], curves: Mapping[str, Mapping[str, Curve]]) -> Self:
        return cls(
            runs=[RunOut.of(run) for run in runs],
            settings=[_line(line) for line in comparison.settings(runs)],
            metrics=[_line(line) for line in comparison.metrics(runs)],
            curves={run_id: CurvesOut(**both) for run_id, both in curves.items()},
        )


def _line(line: Line) -> LineOut:
    return LineOut(name=line.name, values=line.values, differs=line.differs)
