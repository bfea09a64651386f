"""Where a study looks: for each setting a range of numbers, or choices."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inhouse.core.errors import Invalid
from inhouse.training.recipe import Looped, configure, recipes

MAX_SETTINGS = 20
Scalar = bool | int | float | str | None


class BadSpace(Invalid):
    """The space does not fit the recipe."""


class Range(BaseModel):
    """Numbers from `low` to `high`, or one of `choices`. Whole numbers, where both ends are; `log` looks at powers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: list[Scalar] = Field(default=[], max_length=100)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if self.choices:
            if self.low is not None or self.high is not None:
                raise ValueError("give `choices`, or `low` and `high`, not both")
            return self
        if self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("give `choices`, or `low` and a larger `high`")
        if self.log and self.low <= 0:
            raise ValueError("powers need a `low` above zero")
        return self

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)


Space = dict[str, Range]

_ENCODER = {"learning_rate": Range(low=1e-5, high=5e-4, log=True), "batch_size": Range(choices=[16, 32, 64])}
_SCRATCH = {"learning_rate": Range(low=1e-3, high=5e-2, log=True), "batch_size": Range(choices=[16, 32, 64])}
_LANGUAGE = {"learning_rate": Range(low=2e-5, high=1e-3, log=True), "r": Range(choices=[8, 16, 32])}
_OWN: dict[str, Space] = {
    "classify": {"label_smoothing": Range(low=0.0, high=0.2), "dropout": Range(low=0.0, high=0.6)},
    "tag": {"crf": Range(choices=[False, True])},
    "embed": {"temperature": Range(low=0.02, high=0.2, log=True)},
    "rerank": {"negatives": Range(choices=[2, 4, 8])},
    "dpo": {"beta": Range(low=0.03, high=0.5, log=True)},
    "kto": {"beta": Range(low=0.03, high=0.5, log=True)},
}


def default_space(recipe: str, config: Mapping[str, Any]) -> Space:
    """What is worth searching of a recipe, without what was settled already."""
    fields = recipes[recipe].model_fields
    shared = _LANGUAGE if "r" in fields else _ENCODER if config.get("base") else _SCRATCH
    space = {**shared, **_OWN.get(recipe, {})}
    return {name: where for name, where in space.items() if name in fields and name not in config}


def read_space(recipe: str, config: Mapping[str, Any], given: Mapping[str, Any]) -> Space:
    """Check a space against the recipe's settings: both ends of every range must be allowed."""
    cls = recipes[recipe]
    if not issubclass(cls, Looped):
        raise BadSpace(
            f"The recipe {recipe!r} is not trained in steps: there is nothing to watch.", hint="Run it once."
        )
    if len(given) > MAX_SETTINGS:
        raise BadSpace(f"More than {MAX_SETTINGS} settings are too many to search.")
    try:
        space = {name: Range.model_validate(where) for name, where in given.items()}
    except ValidationError as error:
        raise BadSpace(f"The space cannot be used: {error.errors()[0]['msg']}.") from error
    space = space or default_space(recipe, config)
    if not space:
        raise BadSpace("There is nothing left to search.", hint="Leave some of the settings open.")
    for name, where in space.items():
        for value in where.choices or (where.low, where.high):
            configure(recipe, {**config, name: value})
    return space
