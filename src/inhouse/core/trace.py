"""What happened during one answer: a trace of spans."""

from dataclasses import asdict, dataclass, field
from typing import Any

from inhouse.core.ids import new_id, now


@dataclass(slots=True)
class Span:
    """One step of a trace. Times are unix seconds; `status` is running, succeeded, failed, skipped or stopped."""

    name: str
    kind: str
    id: str = field(default_factory=lambda: new_id("span"))
    parent_id: str | None = None
    started_at: float = field(default_factory=now)
    ended_at: float | None = None
    status: str = "running"
    input: Any = None
    output: Any = None
    error: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    def end(self, status: str = "succeeded", *, output: Any = None, error: str | None = None) -> None:
        self.ended_at, self.status, self.output, self.error = now(), status, output, error

    def wire(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Trace:
    """All spans of one answer, with who asked and which versions served it."""

    workspace_id: str
    user_id: str
    id: str = field(default_factory=lambda: new_id("trace"))
    workflow: str = ""
    workflow_version: int = 0
    app: str = ""
    conversation_id: str = ""
    started_at: float = field(default_factory=now)
    ended_at: float | None = None
    status: str = "running"
    input: Any = None
    output: Any = None
    error: str | None = None
    model_versions: dict[str, int | str] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)

    @property
    def duration_ms(self) -> float:
        return ((self.ended_at or now()) - self.started_at) * 1000

    def end(self, status: str = "succeeded", *, output: Any = None, error: str | None = None) -> None:
        self.ended_at, self.status, self.output, self.error = now(), status, output, error
