"""What a training recipe is: its fields are the settings, `prepare` turns data into something the loop can train."""

from __future__ import annotations

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from inhouse.core.errors import Invalid
from inhouse.core.registry import Registry

if TYPE_CHECKING:
    from inhouse.training.dataset import Splits
    from inhouse.training.task import Task

LANGUAGES = ("en", "zh")


class BadConfig(Invalid):
    """The settings given for a recipe do not fit it."""


class Recipe(BaseModel, ABC):
    """How to make one kind of model. Devices, precision, checkpoints and resuming belong to the loop.

    Titles and descriptions of the recipe and its fields come from `locale/{en,zh}.toml` beside the module.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str]

    @abstractmethod
    def prepare(self, splits: Splits, *, seed: int) -> Task[Any]:
        """Build what the loop trains. The same splits and seed must give the same task."""

    @classmethod
    def texts(cls, language: str) -> dict[str, Any]:
        """Title, description and fields (each with title and description) in one language."""
        package = cls.__module__.rpartition(".")[0]
        return _locale(package, language)[cls.name]


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
