"""The columns of a `tabular` model: how named values become what its network reads, in training and in serving."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NUMBER, CATEGORY = "number", "category"
UNKNOWN = ""
"""The category of a value that nobody knows."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column. The values of a category are those worth telling apart; any other is none of them."""

    name: str
    type: str
    values: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        return self.type == NUMBER

    def wire(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "values": [*self.values]}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Feature":
        return cls(stored["name"], stored["type"], tuple(stored.get("values", ())))


def columns(features: Sequence[Feature], rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """What the network takes: `f0`, `f1`, … for the features in their order, each [rows, 1]."""
    return {f"f{number}": _column(feature, rows) for number, feature in enumerate(features)}


def category(value: object) -> str:
    """A value as the name of a category. A number is the same one however it is written."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _column(feature: Feature, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    values = [row.get(feature.name) for row in rows]
    if feature.is_number:
        return np.array([[math.nan if value is None else value] for value in values], dtype=np.float32)
    return np.array([[category(value)] for value in values], dtype=object)
