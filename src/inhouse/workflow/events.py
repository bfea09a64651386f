"""What a run tells while it goes."""

from collections.abc import Mapping
from dataclasses import dataclass

from inhouse.core.errors import InhouseError
from inhouse.core.trace import Trace


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """A step begins."""

    node_id: str
    node_type: str
    title: str


@dataclass(frozen=True, slots=True)
class NodeRetried:
    """A step failed and will be tried again; `attempt` counts from 1."""

    node_id: str
    attempt: int
    error: InhouseError


@dataclass(frozen=True, slots=True)
class NodeFinished:
    """A step is over: `succeeded`, `failed`, or `exception` when it failed and the run goes on."""

    node_id: str
    node_type: str
    title: str
    status: str
    outputs: Mapping[str, object]
    elapsed_s: float
    error: InhouseError | None = None


@dataclass(frozen=True, slots=True)
class TextChunk:
    """The next piece of text for the reader, from the answer or end node named."""

    text: str
    node_id: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is over: `succeeded`, `partial-succeeded` (some steps failed and were seen to) or `failed`."""

    status: str
    outputs: Mapping[str, object]
    trace: Trace
    error: InhouseError | None = None
    exceptions_count: int = 0


Event = NodeStarted | NodeRetried | NodeFinished | TextChunk | RunFinished
