"""Wire shapes of models."""

from dataclasses import asdict
from typing import Any, Self

from pydantic import BaseModel, Field

from inhouse.models.store import Evaluation, ModelVersion, Variant


class ModelVersionOut(BaseModel):
    model: str
    number: int
    reference: str
    kind: str
    digest: str
    size_bytes: int
    labels: list[str]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    owner_id: str
    created_at: float
    is_protected: bool
    note: str
    aliases: list[str]

    @classmethod
    def of(cls, version: ModelVersion, aliases: dict[str, int]) -> Self:
        names = sorted(alias for alias, number in aliases.items() if number == version.number)
        return cls(**asdict(version), reference=version.reference, aliases=names)


class ModelOut(BaseModel):
    """A model with its versions, newest first."""

    name: str
    aliases: dict[str, int]
    versions: list[ModelVersionOut]


class ModelSummary(BaseModel):
    name: str
    aliases: dict[str, int]
    newest: ModelVersionOut


class ModelList(BaseModel):
    items: list[ModelSummary]


class Change(BaseModel):
    """What is written on a version; what is left out stays."""

    note: str | None = Field(default=None, max_length=4000)
    is_protected: bool | None = None


class Pointer(BaseModel):
    version: int = Field(ge=1)


class Aliases(BaseModel):
    """Alias -> version."""

    aliases: dict[str, int]


class Card(BaseModel):
    """A description of a version, as Markdown."""

    markdown: str


class Lineage(BaseModel):
    """What a version was made from and by, and what its files say of themselves."""

    reference: str
    lineage: dict[str, Any]
    files: dict[str, Any]


class VariantOut(BaseModel):
    """A version in another format. `figures` were measured: accuracy or agreement, speed, memory, size."""

    name: str
    status: str
    reason: str
    size_bytes: int
    figures: dict[str, Any]
    created_at: float

    @classmethod
    def of(cls, variant: Variant) -> Self:
        return cls(**{name: getattr(variant, name) for name in cls.model_fields})


class VariantList(BaseModel):
    items: list[VariantOut]


class EvaluationOut(BaseModel):
    """How good a version is on the rows of a split: `status` is queued, ready or failed."""

    id: str
    model: str
    number: int
    dataset: str
    dataset_version: int
    split: str
    status: str
    error: str
    metrics: dict[str, Any]
    owner_id: str
    created_at: float

    @classmethod
    def of(cls, evaluation: Evaluation) -> Self:
        return cls(**{name: getattr(evaluation, name) for name in cls.model_fields})


class EvaluationList(BaseModel):
    items: list[EvaluationOut]
