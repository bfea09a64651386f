"""Wire shapes of the loop."""

from dataclasses import asdict
from typing import Any, Self

from pydantic import BaseModel, Field

from inhouse.apps.schemas import MessageOut
from inhouse.apps.store import Feedback
from inhouse.data.schemas import VersionOut
from inhouse.loop.canary import Arm
from inhouse.loop.state import LoopState
from inhouse.loop.store import Release, StoredVerdict


class StageOut(BaseModel):
    count: int
    detail: int


class NextOut(BaseModel):
    action: str
    count: int
    model: str
    version: int


class LoopOut(BaseModel):
    stages: dict[str, StageOut]
    next: NextOut | None

    @classmethod
    def of(cls, state: LoopState) -> Self:
        return cls.model_validate(asdict(state))


class FeedbackOut(BaseModel):
    """A user's opinion of an answer, for review."""

    id: str
    user_id: str
    rating: str
    reason: str | None
    answer: str | None
    label: str | None
    status: str
    created_at: float
    message: MessageOut

    @classmethod
    def of(cls, item: Feedback) -> Self:
        opinion = item.opinion
        return cls(
            id=item.id,
            user_id=item.user_id,
            rating=opinion.rating,
            reason=opinion.reason,
            answer=opinion.corrected_answer,
            label=opinion.corrected_label,
            status=item.status,
            created_at=item.created_at,
            message=MessageOut.model_validate(item.message),
        )


class FeedbackList(BaseModel):
    items: list[FeedbackOut]


class Acceptance(BaseModel):
    label: str | None = Field(default=None, max_length=200, description="The right label; the user's word if absent.")


class ModelName(BaseModel):
    model: str = Field(max_length=120)


class NewDataset(BaseModel):
    """The new dataset version, and corrections left out because they are test rows."""

    version: VersionOut
    held_out: list[str]


class Comparison(ModelName):
    candidate: int = Field(ge=1)


class ReasonOut(BaseModel):
    code: str
    decision: str
    figures: dict[str, Any]


class VerdictOut(BaseModel):
    id: str
    model: str
    live: int
    candidate: int
    decision: str
    reasons: list[ReasonOut]
    created_at: float

    @classmethod
    def of(cls, verdict: StoredVerdict) -> Self:
        return cls.model_validate(asdict(verdict))


class VerdictList(BaseModel):
    items: list[VerdictOut]


class NewRelease(ModelName):
    version: int = Field(ge=1)
    share: float = Field(default=0.2, description="The canary's share of the traffic, between 0 and 1.")


class ArmOut(BaseModel):
    answers: int
    errors: int
    down_votes: int


class ReleaseOut(BaseModel):
    """A candidate on its way to live; the figures of both versions while it runs."""

    id: str
    model: str
    live: int
    candidate: int
    share: float
    status: str
    reason: str
    created_at: float
    ended_at: float | None
    figures: dict[str, ArmOut] | None = None

    @classmethod
    def of(cls, release: Release, arms: tuple[Arm, Arm] | None = None) -> Self:
        figures = dict(zip(("live", "candidate"), map(asdict, arms), strict=True)) if arms else None
        return cls.model_validate({**asdict(release), "figures": figures})


class ReleaseList(BaseModel):
    items: list[ReleaseOut]


class Rollback(BaseModel):
    reason: str = Field(default="", max_length=2000)
