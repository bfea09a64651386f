"""Workflows, their runs, and traces over HTTP."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from inhouse.core.api import permit, sse
from inhouse.core.principal import Principal
from inhouse.workflow.context import RunInputs
from inhouse.workflow.node import describe, nodes
from inhouse.workflow.schemas import (
    GraphIn,
    NodesOut,
    Number,
    RunIn,
    RunOut,
    TraceOut,
    TracesOut,
    TraceSummary,
    VersionOut,
    VersionsOut,
    WorkflowIn,
    WorkflowOut,
    frame,
)
from inhouse.workflow.traces import Traces
from inhouse.workflow.workflows import Workflows

Reader = Annotated[Principal, permit("workflow:read")]
Writer = Annotated[Principal, permit("workflow:write")]
Runner = Annotated[Principal, permit("workflow:run")]
TraceReader = Annotated[Principal, permit("trace:read")]


def router(workflows: Workflows, traces: Traces) -> APIRouter:
    """The routes of this room."""
    routes = APIRouter(tags=["workflows"])

    @routes.get("/nodes")
    def list_nodes(who: Reader) -> NodesOut:
        return NodesOut(items=[describe(nodes[name]) for name in nodes])

    @routes.get("/workflows")
    def list_workflows(who: Reader) -> VersionsOut:
        return VersionsOut(items=[VersionOut.model_validate(version) for version in workflows.list(who)])

    @routes.post("/workflows", status_code=201)
    def create(who: Writer, body: WorkflowIn) -> VersionOut:
        return VersionOut.model_validate(workflows.create(who, body.name, body.document, note=body.note))

    @routes.get("/workflows/{name}")
    def get(who: Reader, name: str, version: Number | None = None) -> WorkflowOut:
        return WorkflowOut.model_validate(workflows.get(who, name, version))

    @routes.put("/workflows/{name}")
    def save(who: Writer, name: str, body: GraphIn) -> VersionOut:
        return VersionOut.model_validate(workflows.save(who, name, body.document, note=body.note))

    @routes.get("/workflows/{name}/versions")
    def list_versions(who: Reader, name: str) -> VersionsOut:
        return VersionsOut(items=[VersionOut.model_validate(version) for version in workflows.versions(who, name)])

    @routes.post("/workflows/{name}/run", response_model=RunOut)
    async def run(who: Runner, name: str, body: RunIn) -> StreamingResponse | dict[str, Any]:
        inputs = RunInputs(body.query, body.inputs, who.user_id, body.conversation_id)
        await workflows.load(who, name, body.version)  # an unknown name is a 404, not an event
        frames = _frames(workflows, who, name, inputs, body.version)
        if body.stream:
            return sse(frames)
        return [item["data"] async for item in frames][-1]

    @routes.get("/traces")
    def list_traces(
        who: TraceReader,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before: str = "",
        app: str = "",
        status: str = "",
    ) -> TracesOut:
        found = traces.list(who, limit=limit, before=before, app=app, status=status)
        return TracesOut(items=[TraceSummary.model_validate(trace) for trace in found])

    @routes.get("/traces/{id}")
    def get_trace(who: TraceReader, id: str) -> TraceOut:
        return TraceOut.model_validate(traces.get(who, id))

    return routes


async def _frames(
    workflows: Workflows, who: Principal, name: str, inputs: RunInputs, version: int | None
) -> AsyncIterator[dict[str, Any]]:
    async with aclosing(workflows.run(who, name, inputs, version=version)) as events:
        async for event in events:
            yield frame(event)
