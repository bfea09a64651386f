"""The shapes of workflows, runs and traces on the wire."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inhouse.workflow.document import MAX_CHARS
from inhouse.workflow.events import Event, NodeFinished, NodeRetried, NodeStarted, TextChunk
from inhouse.workflow.traces import capped

Number = Annotated[int, Field(ge=1, lt=2**31, description="Number of a version.")]


class GraphIn(BaseModel):
    """A graph, as an object or as YAML text."""

    graph: dict[str, Any] | None = None
    yaml: str | None = Field(default=None, max_length=MAX_CHARS)
    note: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.graph is None) == (self.yaml is None):
            raise ValueError("Give either `graph` or `yaml`.")
        return self

    @property
    def document(self) -> dict[str, Any] | str:
        return self.graph if self.graph is not None else self.yaml or ""


class WorkflowIn(GraphIn):
    """A new workflow."""

    name: str


class RunIn(BaseModel):
    """What a run starts from."""

    query: str = Field(default="", max_length=100_000)
    inputs: dict[str, Any] = Field(default_factory=dict)
    version: Number | None = None
    conversation_id: str = Field(default="", max_length=64)
    stream: bool = False


class VersionOut(BaseModel):
    """A version, without its graph."""

    model_config = ConfigDict(from_attributes=True)

    workflow: str
    number: int
    digest: str
    note: str
    owner_id: str
    created_at: float


class WorkflowOut(VersionOut):
    """A version with its graph."""

    graph: dict[str, Any]


class VersionsOut(BaseModel):
    """Versions, newest first."""

    items: list[VersionOut]


class RunOut(BaseModel):
    """How a run ended."""

    status: str
    outputs: dict[str, Any]
    trace_id: str
    workflow_version: int
    model_versions: dict[str, int | str]
    duration_ms: float
    error: dict[str, Any] | None = None


class TraceSummary(BaseModel):
    """A trace in a list."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    user_id: str
    workflow: str
    workflow_version: int
    app: str
    conversation_id: str
    status: str
    started_at: float
    duration_ms: float
    input: Any
    output: Any
    error: str | None
    model_versions: dict[str, int | str]


class TraceOut(TraceSummary):
    """A trace with what every node got, gave and took."""

    spans: list[dict[str, Any]]


class TracesOut(BaseModel):
    """Traces, newest first."""

    items: list[TraceSummary]


class NodesOut(BaseModel):
    """Every kind of node that graphs may use."""

    items: list[dict[str, Any]]


def frame(event: Event) -> dict[str, Any]:
    """An event as the server sends it while a run goes on."""
    match event:
        case NodeStarted():
            data = {"node_id": event.node_id, "node_type": event.node_type, "title": event.title}
            return {"event": "node_started", "data": data}
        case NodeRetried():
            data = {"node_id": event.node_id, "attempt": event.attempt, **event.error.wire()}
            return {"event": "node_retry", "data": data}
        case NodeFinished():
            data = {
                "node_id": event.node_id,
                "node_type": event.node_type,
                "title": event.title,
                "status": event.status,
                "outputs": capped(event.outputs),
                "elapsed_s": event.elapsed_s,
                **(event.error.wire() if event.error else {"error": None}),
            }
            return {"event": "node_finished", "data": data}
        case TextChunk():
            return {"event": "text_chunk", "data": {"text": event.text, "node_id": event.node_id}}
        case _:
            trace = event.trace
            result = RunOut(
                status=event.status,
                outputs=dict(event.outputs),
                trace_id=trace.id,
                workflow_version=trace.workflow_version,
                model_versions=trace.model_versions,
                duration_ms=trace.duration_ms,
                error=event.error.wire(trace.id)["error"] if event.error else None,
            )
            return {"event": "run_finished", "data": result.model_dump()}
