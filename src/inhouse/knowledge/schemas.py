"""Wire shapes of the knowledge API."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from inhouse.knowledge.search import Passage
from inhouse.knowledge.store import KnowledgeBase


class NewKnowledgeBase(BaseModel):
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2_000)


class KnowledgeBaseOut(BaseModel):
    id: str
    name: str
    description: str
    threshold: float
    created_at: float
    documents: dict[str, int] = Field(description="How many documents are in each status.")

    @classmethod
    def of(cls, base: KnowledgeBase, documents: dict[str, int]) -> Self:
        return cls(
            id=base.id,
            name=base.name,
            description=base.description,
            threshold=base.threshold,
            created_at=base.created_at,
            documents=documents,
        )


class KnowledgeBaseList(BaseModel):
    items: list[KnowledgeBaseOut]


class DocumentOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    title: str
    format: str
    status: str = Field(description="queued, parsing, indexing, ready or failed")
    error: str
    pages: int | None
    chunks: int
    size: int
    seconds: float | None
    digest: str
    attempt: int
    created_at: float


class DocumentList(BaseModel):
    items: list[DocumentOut]


class PassageOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    chunk_id: str
    document_id: str
    document: str
    title: str
    page: int | None
    heading: list[str]
    text: str
    score: float


class SearchOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    passages: list[PassageOut]
    coverage: float
    answerable: bool


class PassageInContext(BaseModel):
    chunk_id: str
    document_id: str
    document: str
    title: str
    page: int | None
    heading: list[str]
    text: str
    before: str
    after: str

    @classmethod
    def of(cls, passage: Passage, before: str, after: str) -> Self:
        return cls(
            chunk_id=passage.chunk_id,
            document_id=passage.document_id,
            document=passage.document,
            title=passage.title,
            page=passage.page,
            heading=list(passage.heading),
            text=passage.text,
            before=before,
            after=after,
        )
