"""Wire shapes of datasets."""

from dataclasses import asdict
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from inhouse.data.examples import Example
from inhouse.data.reading import Preview
from inhouse.data.store import DatasetVersion


class ProblemOut(BaseModel):
    row: int
    column: str
    message: str


class PreviewOut(BaseModel):
    """What an import would bring; nothing is stored."""

    format: str
    form: str
    encoding: str
    columns: list[str]
    mapping: dict[str, str | list[str]]
    count: int
    labels: dict[str, int]
    sample: list[dict[str, Any]]
    problems: list[ProblemOut]
    problem_count: int
    warnings: list[str]

    @classmethod
    def of(cls, preview: Preview) -> Self:
        values = {name: getattr(preview, name) for name in cls.model_fields if name != "problems"}
        return cls(**values, problems=[ProblemOut(**asdict(problem)) for problem in preview.problems])


class VersionOut(BaseModel):
    dataset: str
    number: int
    reference: str
    digest: str
    parent: int | None
    count: int
    labels: dict[str, int]
    splits: dict[str, int]
    note: str
    owner_id: str
    created_at: float
    form: str
    origin: dict[str, Any]
    erased: int

    @classmethod
    def of(cls, version: DatasetVersion) -> Self:
        return cls(**asdict(version), reference=version.reference)


class DatasetList(BaseModel):
    items: list[VersionOut]


class DatasetOut(BaseModel):
    name: str
    versions: list[VersionOut]


class ExampleIn(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)

    text: str = Field(min_length=1, max_length=20_000)
    label: str = Field(min_length=1, max_length=200)


class NewVersion(BaseModel):
    examples: list[ExampleIn] = Field(min_length=1, max_length=100_000)
    note: str = Field(default="", max_length=2000)
    parent: int | None = Field(default=None, ge=1, description="The version to build on; the newest when absent.")


class ExampleOut(BaseModel):
    id: str
    text: str
    label: str
    source: str
    split: str
    meta: dict[str, Any]
    content: dict[str, Any]
    user: str

    @classmethod
    def of(cls, example: Example) -> Self:
        return cls(**example.wire())


class ExampleList(BaseModel):
    items: list[ExampleOut]
    total: int
