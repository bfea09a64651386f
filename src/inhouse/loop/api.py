"""The loop over HTTP."""

from typing import Annotated, Literal

from fastapi import APIRouter

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.data.schemas import VersionOut
from inhouse.loop.loop import Loop
from inhouse.loop.schemas import (
    Acceptance,
    Comparison,
    FeedbackList,
    FeedbackOut,
    LoopOut,
    ModelName,
    NewDataset,
    NewRelease,
    ReleaseList,
    ReleaseOut,
    Rollback,
    VerdictList,
    VerdictOut,
)
from inhouse.loop.store import CANARY
from inhouse.training.schemas import RunOut

Reader = Annotated[Principal, permit("loop:read")]
Writer = Annotated[Principal, permit("loop:write")]
Reviewer = Annotated[Principal, permit("feedback:review")]
Releaser = Annotated[Principal, permit("model:promote")]


def router(loop: Loop) -> APIRouter:
    routes = APIRouter(tags=["loop"])

    @routes.get("/loop")
    def state(who: Reader) -> LoopOut:
        """Counts of every stage, and the one thing to do next."""
        return LoopOut.of(loop.state(who))

    @routes.get("/feedback")
    def inbox(who: Reviewer, status: Literal["open", "accepted", "rejected"] = "open") -> FeedbackList:
        """The feedback in one status, the most useful first."""
        return FeedbackList(items=[FeedbackOut.of(item) for item in loop.review.inbox(who, status)])

    @routes.post("/feedback/{feedback_id}/accept")
    def accept(who: Reviewer, feedback_id: str, body: Acceptance) -> FeedbackOut:
        """Make a correction a golden case and a row of the next dataset version."""
        return FeedbackOut.of(loop.review.accept(who, feedback_id, body.label))

    @routes.post("/feedback/{feedback_id}/reject")
    def reject(who: Reviewer, feedback_id: str) -> FeedbackOut:
        return FeedbackOut.of(loop.review.reject(who, feedback_id))

    @routes.post("/loop/datasets", status_code=201)
    def make_dataset(who: Writer, body: ModelName) -> NewDataset:
        """Make a dataset version of the live one's rows and the accepted corrections."""
        version, held_out = loop.review.make_dataset(who, body.model)
        return NewDataset(version=VersionOut.of(version), held_out=held_out)

    @routes.post("/loop/retrain", status_code=201)
    def retrain(who: Writer, body: ModelName) -> RunOut:
        """Train the model again as its live version was, on the newest dataset version."""
        return RunOut.of(loop.retrain(who, body.model))

    @routes.post("/loop/gate", status_code=201)
    async def gate(who: Writer, body: Comparison) -> VerdictOut:
        """Compare a version with the live one and judge it."""
        return VerdictOut.of(await loop.gate(who, body.model, body.candidate))

    @routes.get("/verdicts")
    def verdicts(who: Reader) -> VerdictList:
        return VerdictList(items=[VerdictOut.of(verdict) for verdict in loop.verdicts(who)])

    @routes.get("/releases")
    def releases(who: Reader) -> ReleaseList:
        return ReleaseList(
            items=[
                ReleaseOut.of(one, loop.releases.arms(who, one) if one.status == CANARY else None)
                for one in loop.releases.history(who)
            ]
        )

    @routes.post("/releases", status_code=201)
    async def release(who: Releaser, body: NewRelease) -> ReleaseOut:
        """Give an approved version a share of the traffic; a model's first version goes live at once."""
        return ReleaseOut.of(await loop.releases.start(who, body.model, body.version, body.share))

    @routes.post("/releases/{release_id}/promote")
    def promote(who: Releaser, release_id: str) -> ReleaseOut:
        return ReleaseOut.of(loop.releases.promote(who, release_id))

    @routes.post("/releases/{release_id}/rollback")
    def roll_back(who: Releaser, release_id: str, body: Rollback) -> ReleaseOut:
        return ReleaseOut.of(loop.releases.roll_back(who, release_id, body.reason))

    return routes
