"""What a training recipe is: its fields are the settings, `prepare` turns data into something the loop can train."""

from __future__ import annotations

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from importlib import resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inhouse.core.errors import Invalid, Misconfigured
from inhouse.core.registry import Registry
from inhouse.data.examples import Form
from inhouse.training.dataset import NotTrainable, Splits
from inhouse.training.task import Plan, Precision, Schedule

if TYPE_CHECKING:
    from inhouse.training.task import Fit, Task

LANGUAGES = ("en", "zh")


class BadConfig(Invalid):
    """The settings given for a recipe do not fit it."""


class ExtraMissing(Misconfigured):
    """The recipe needs an extra of the package that is not installed."""


class Recipe(BaseModel, ABC):
    """How to make one kind of model. Devices, precision, checkpoints and resuming belong to the loop.

    Titles and descriptions of the recipe and its fields come from `locale/{en,zh}.toml` beside the module.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str]
    forms: ClassVar[tuple[Form, ...]]
    """The forms of rows that it learns from."""
    extra: ClassVar[str] = ""
    """The extra of the package that it needs, where it needs one."""
    needs: ClassVar[tuple[str, ...]] = ()
    """The modules that the extra brings."""

    @classmethod
    def missing(cls) -> str:
        """The command that installs what is not there yet; empty when nothing is missing."""
        absent = any(find_spec(module) is None for module in cls.needs)
        return f"pip install 'inhouse[{cls.extra}]'" if absent else ""

    def check(self, splits: Splits) -> None:
        """Raise `NotTrainable` when these rows cannot teach this recipe, `ExtraMissing` when nothing can here."""
        if command := self.missing():
            raise ExtraMissing(f"The recipe {self.name!r} needs more than is installed.", hint=f"Run: {command}")
        if splits.form not in self.forms:
            raise NotTrainable(
                f"The recipe {self.name!r} does not learn from rows of the form {splits.form!r}.",
                hint=f"It takes: {', '.join(self.forms)}.",
            )

    @abstractmethod
    def prepare(self, splits: Splits, *, seed: int) -> Task[Any] | Fit:
        """Build what is trained. The same splits and seed must give the same task."""

    @classmethod
    def texts(cls, language: str) -> dict[str, Any]:
        """Title, description and fields (each with title and description) in one language."""
        locale = _locale(cls.__module__.rpartition(".")[0], language)
        own = locale[cls.name]
        every = {**locale.get("shared", {}).get("fields", {}), **own.get("fields", {})}
        return {**own, "fields": {name: every[name] for name in cls.model_fields}}


class Looped(Recipe):
    """The settings of every recipe that trains in the loop. Empty numbers mean: what suits the recipe."""

    epochs: int | None = Field(default=None, ge=1, le=1000)
    batch_size: int | None = Field(default=None, ge=1, le=4096)
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    warmup: float = Field(default=0.1, ge=0, le=1)
    schedule: Schedule = "linear"
    clip_norm: float = Field(default=1.0, gt=0, le=1000)
    accumulate: int = Field(default=1, ge=1, le=1024)
    patience: int = Field(default=5, ge=0, le=1000)
    precision: Precision = "auto"
    ema: float = Field(default=0.0, ge=0, lt=1)
    gradient_checkpointing: bool = False

    def plan(self, seed: int, *, epochs: int, batch_size: int, learning_rate: float) -> Plan:
        """The settings as the loop takes them, with what suits the recipe in place of empty ones."""
        return Plan(
            epochs=self.epochs or epochs,
            batch_size=self.batch_size or batch_size,
            learning_rate=self.learning_rate or learning_rate,
            seed=seed,
            **{name: getattr(self, name) for name in _PLANNED},
        )


_PLANNED = (
    "weight_decay",
    "warmup",
    "schedule",
    "clip_norm",
    "accumulate",
    "patience",
    "precision",
    "ema",
    "gradient_checkpointing",
)


recipes: Registry[type[Recipe]] = Registry("recipe", package="inhouse.training.recipes")

RecipeClass = TypeVar("RecipeClass", bound=type[Recipe])


def recipe(name: str) -> Callable[[RecipeClass], RecipeClass]:
    """Make a recipe class known by a name. Stored runs carry the name, so it is for ever."""

    def add(cls: RecipeClass) -> RecipeClass:
        cls.name = name
        recipes.add(name, cls)
        return cls

    return add


def configure(name: str, config: dict[str, Any]) -> Recipe:
    """Return the named recipe with its settings checked."""
    cls = recipes[name]
    try:
        return cls.model_validate(config)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadConfig(
            f"The settings do not fit the recipe {name!r}: {problems}.",
            hint="It has: " + ", ".join(cls.model_fields),
        ) from error


@cache
def _locale(package: str, language: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(package).joinpath("locale", f"{language}.toml").read_text(encoding="utf-8"))
