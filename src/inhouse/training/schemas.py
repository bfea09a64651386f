"""Wire shapes of recipes and runs."""

from typing import Any, Self

from pydantic import BaseModel, Field

from inhouse.training.recipe import LANGUAGES, Recipe
from inhouse.training.store import Run


class RecipeOut(BaseModel):
    """A recipe as a form: JSON schema of its settings, and title, description and fields per language."""

    name: str
    settings: dict[str, Any]
    texts: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, recipe: type[Recipe]) -> Self:
        texts = {language: recipe.texts(language) for language in LANGUAGES}
        return cls(name=recipe.name, settings=recipe.model_json_schema(), texts=texts)


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
