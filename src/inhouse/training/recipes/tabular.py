"""Predict a label or a number from named values, such as the columns of a spreadsheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from inhouse.data.examples import Form
from inhouse.training.dataset import NotTrainable
from inhouse.training.recipe import Recipe, recipe

if TYPE_CHECKING:
    from inhouse.training.dataset import Row, Splits
    from inhouse.training.task import Fit

MANY = 20
"""Numbers that take more values than this are an amount; up to so many may be names of classes."""


@recipe("tabular")
class Tabular(Recipe):
    """Train trees or a linear model with scikit-learn; what is served is ONNX and needs none of it."""

    forms = (Form.TABLE,)
    extra = "tabular"
    needs = ("sklearn", "skl2onnx")

    task: Literal["auto", "classification", "regression"] = "auto"
    model: Literal["trees", "linear"] = "trees"
    rounds: int = Field(default=200, ge=1, le=5000)
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    leaves: int = Field(default=31, ge=2, le=1024)
    strength: float = Field(default=1.0, ge=0, le=1e6)
    max_categories: int = Field(default=50, ge=1, le=1000)

    def check(self, splits: Splits) -> None:
        super().check(splits)
        if not splits.train:
            raise NotTrainable("There are no training rows.", hint="Import more rows.")
        if self.is_regression(splits):
            every = (row for row in (*splits.train, *splits.dev, *splits.test) if not _is_number(row))
            if wrong := next(every, None):
                raise NotTrainable(
                    f"The row {wrong.id} has the label {wrong.label!r}, which is no number.",
                    hint="Correct it, or choose the task classification.",
                )
        else:
            splits.check_labels()

    def is_regression(self, splits: Splits) -> bool:
        """As asked; else, whether every label is a number and they take many values."""
        if self.task != "auto":
            return self.task == "regression"
        return all(map(_is_number, splits.train)) and len(splits.labels) > MANY

    def prepare(self, splits: Splits, *, seed: int) -> Fit:
        from inhouse.training.tabular import Table

        return Table(self, splits, seed=seed)


def _is_number(row: Row) -> bool:
    try:
        return abs(float(row.label)) < float("inf")
    except ValueError:
        return False
