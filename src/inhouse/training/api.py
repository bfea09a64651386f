"""Training over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from inhouse.core.api import permit, sse
from inhouse.core.errors import Invalid
from inhouse.core.principal import Principal
from inhouse.training.recipe import recipes
from inhouse.training.runs import Runs
from inhouse.training.schemas import ComparisonOut, EventList, NewRun, RecipeList, RecipeOut, RunList, RunOut

POLL_S = 0.25
MOST_COMPARED = 16


class NothingToCompare(Invalid):
    """A comparison was asked for of no runs, or of too many."""


def router(runs: Runs) -> APIRouter:
    routes = APIRouter(tags=["training"])

    @routes.get("/recipes")
    def list_recipes(who: Annotated[Principal, permit("run:read")]) -> RecipeList:
        """What can be trained, with the settings of each recipe."""
        return RecipeList(items=[RecipeOut.of(recipes[name]) for name in recipes])

    @routes.post("/runs", status_code=201)
    def start(body: NewRun, who: Annotated[Principal, permit("run:write")]) -> RunOut:
        """Queue a training run."""
        return RunOut.of(runs.start(who, **dict(body)))

    @routes.get("/runs")
    def list_runs(
        who: Annotated[Principal, permit("run:read")], limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> RunList:
        """Runs, newest first."""
        return RunList(items=[RunOut.of(run) for run in runs.list(who, limit=limit)])

    @routes.get("/runs/compare")
    def compare(
        who: Annotated[Principal, permit("run:read")],
        ids: Annotated[str, Query(max_length=2000, description="Ids of up to 16 runs, with commas between.")],
    ) -> ComparisonOut:
        """Put runs side by side: settings, metrics and curves."""
        names = [name.strip() for name in ids.split(",") if name.strip()]
        if not 1 <= len(names) <= MOST_COMPARED:
            raise NothingToCompare(f"{len(names)} runs cannot be compared.", hint=f"Name 1 to {MOST_COMPARED}.")
        chosen = [runs.get(who, name) for name in dict.fromkeys(names)]
        return ComparisonOut.of(chosen, {run.id: runs.curves(who, run.id) for run in chosen})

    @routes.get("/runs/{run_id}")
    def get(run_id: str, who: Annotated[Principal, permit("run:read")]) -> RunOut:
        return RunOut.of(runs.get(who, run_id))

    @routes.get("/runs/{run_id}/events", response_model=EventList)
    async def events(
        run_id: str,
        who: Annotated[Principal, permit("run:read")],
        after: Annotated[int, Query(ge=0)] = 0,
        accept: Annotated[str, Header()] = "",
        last_event_id: Annotated[int, Header(ge=0)] = 0,
    ) -> EventList | Response:
        """Replay a run's events and follow them until it ends. As a plain list with `Accept: application/json`."""
        seen = max(after, last_event_id)
        past = await asyncio.to_thread(runs.events, who, run_id, seen)
        if "application/json" in accept:
            return EventList(items=list(past))
        return sse(_follow(runs, who, run_id, seen))

    @routes.post("/runs/{run_id}/stop")
    def stop(run_id: str, who: Annotated[Principal, permit("run:write")]) -> RunOut:
        """Save and stop; it can be resumed."""
        return RunOut.of(runs.stop(who, run_id))

    @routes.post("/runs/{run_id}/resume")
    def resume(run_id: str, who: Annotated[Principal, permit("run:write")]) -> RunOut:
        """Go on from the newest checkpoint."""
        return RunOut.of(runs.resume(who, run_id))

    return routes


async def _follow(runs: Runs, who: Principal, run_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
    """Events as they come; the last item, `end`, is the run itself."""
    while True:
        run = await asyncio.to_thread(runs.get, who, run_id)  # before the events: an ended run writes no more
        for event in await asyncio.to_thread(runs.events, who, run_id, after):
            after = event["seq"]
            yield {"id": after, "event": event["type"], "data": event}
        if run.has_ended:
            yield {"event": "end", "data": RunOut.of(run).model_dump()}
            return
        await asyncio.sleep(POLL_S)
