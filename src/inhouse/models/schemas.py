"""Wire shapes of models."""

from dataclasses import asdict
from typing import Any, Self

from pydantic import BaseModel

from inhouse.models.store import ModelVersion


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
