"""Wire shapes of what is done with model versions."""

from dataclasses import asdict
from typing import Any, Self

from pydantic import BaseModel, Field

from inhouse.training.versions.comparison import Comparison
from inhouse.training.versions.versions import Rows


class RowsIn(BaseModel):
    """The rows to measure on; the version's own test rows where none are named."""

    dataset: str = ""
    version: int = Field(default=1, ge=1)
    split: str = Field(default="test", pattern="^(train|dev|test)$")

    def rows(self) -> Rows | None:
        return Rows(self.dataset, self.version, self.split) if self.dataset else None


class NewVariants(RowsIn):
    """Variants to make, all of them by default. Quantised ones that lose more than `max_loss` are refused: points of
    accuracy (1 by default), of language models per cent of perplexity (10).
    """

    variants: list[str] = Field(default=[], max_length=20)
    max_loss: float | None = Field(default=None, ge=0, le=100)


class Question(BaseModel):
    """What to explain: by default the label that the version gives. A reranker needs the `other` text."""

    text: str = Field(min_length=1, max_length=4000)
    other: str = Field(default="", max_length=4000)
    label: str = ""


class TokenOut(BaseModel):
    text: str
    start: int
    end: int
    weight: float
    part: int


class ExplanationOut(BaseModel):
    """Weights of tokens add up to `logit - baseline`, but for `gap`."""

    label: str
    score: float
    logit: float
    baseline: float
    gap: float
    tokens: list[TokenOut]


class ReportOut(BaseModel):
    """An evaluation in full, without its single rows. `confusion` has the cells that are not empty."""

    kind: str
    metrics: dict[str, Any]
    per_class: dict[str, dict[str, float]] = {}
    confusion: list[dict[str, Any]] = []
    reliability: list[dict[str, float]] = []


class RowList(BaseModel):
    """Rows of an evaluation: the surest mistakes first, then the least sure among the right ones."""

    items: list[dict[str, Any]]
    total: int


class ComparisonOut(BaseModel):
    """Version `a` minus version `b`. `test` is there when both were evaluated on the same rows."""

    a: str
    b: str
    rows: str
    metrics: dict[str, dict[str, float]]
    per_class: dict[str, dict[str, float]]
    config: dict[str, dict[str, Any]]
    lineage: dict[str, dict[str, Any]]
    test: dict[str, Any]
    fixed: list[dict[str, Any]]
    broken: list[dict[str, Any]]

    @classmethod
    def of(cls, comparison: Comparison) -> Self:
        return cls(**asdict(comparison))


class Import(BaseModel):
    """A directory on the server's machine, in the layout of Hugging Face."""

    name: str = Field(min_length=1, max_length=120)
    path: str = Field(min_length=1, max_length=4096)
    kind: str = ""
    note: str = Field(default="", max_length=4000)
