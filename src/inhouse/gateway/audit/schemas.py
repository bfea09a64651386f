"""Wire shapes of the audit API."""

from typing import Any

from pydantic import BaseModel

from inhouse.gateway.audit.rows import Row
from inhouse.gateway.audit.search import dumped


class RequestOut(BaseModel):
    """One request to a model."""

    time: float
    request_id: str
    status: int
    key: str
    user: str
    team: str
    endpoint: str
    model: str
    target: str
    arm: str
    error: str
    attempts: int
    cache: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    cost: float | None
    queued_s: float
    first_token_s: float
    total_s: float
    stream: bool
    flags: list[str]


class RequestDetail(RequestOut):
    """One request with what was asked and answered."""

    request: Any
    response: Any
    cut: bool

    @classmethod
    def of(cls, row: Row) -> "RequestDetail":
        return cls(**dumped(row))


class RequestsVerified(BaseModel):
    """Whether the kept requests are as they were written. `broken` is the first place where they are not."""

    whole: bool
    broken: str


class RequestPage(BaseModel):
    """Requests, newest first. Where there may be more, `next` is the cursor to go on from."""

    items: list[RequestOut]
    next: str

    @classmethod
    def of(cls, rows: list[Row], cursor: str) -> "RequestPage":
        return cls(items=[RequestOut(**dumped(row)) for row in rows], next=cursor)
