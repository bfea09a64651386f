"""Workflows, apps and what people say to them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from inhouse.client.errors import rebuilt
from inhouse.client.http import Http, ServerEvent
from inhouse.client.types import (
    App,
    Conversation,
    Message,
    Opinion,
    ShortAnswer,
    Texts,
    Trace,
    TraceSummary,
    Workflow,
    WorkflowRun,
    WorkflowVersion,
)
from inhouse.core.errors import NotFound


class Workflows:
    """Graphs of nodes; every save is a new version, live at once."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def nodes(self) -> Sequence[dict[str, Any]]:
        """Every kind of node that graphs may use."""
        return self._http.get("nodes")["items"]

    def list(self) -> Sequence[WorkflowVersion]:
        """The newest version of each workflow."""
        return self._http.get("workflows")["items"]

    def get(self, name: str, version: int | None = None) -> Workflow:
        return self._http.get("workflows", name, version=version)

    def versions(self, name: str) -> Sequence[WorkflowVersion]:
        return self._http.get("workflows", name, "versions")["items"]

    def save(self, name: str, graph: Mapping[str, Any] | str, *, note: str = "") -> WorkflowVersion:
        """Save a graph, as an object or as YAML text: the next version, or a new workflow."""
        body = {("yaml" if isinstance(graph, str) else "graph"): graph, "note": note}
        try:
            return self._http.send("PUT", "workflows", name, body=body)
        except NotFound:
            return self._http.post("workflows", body={**body, "name": name})

    def run(
        self, name: str, query: str = "", *, inputs: Mapping[str, Any] | None = None, version: int | None = None
    ) -> WorkflowRun:
        body = {"query": query, "inputs": {**(inputs or {})}, "version": version}
        return self._http.post("workflows", name, "run", body=body)


class Apps:
    """Published workflows that people chat with."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Sequence[App]:
        return self._http.get("apps")["items"]

    def get(self, name: str) -> App:
        return self._http.get("apps", name)

    def create(
        self,
        name: str,
        workflow: str,
        *,
        title: Texts | str,
        opener: Texts | str = "",
        suggested: Sequence[Texts | str] = (),
    ) -> App:
        """Publish a workflow. A plain string stands for a text in every language."""
        return self._http.post("apps", body={"name": name, **_face(workflow, title, opener, suggested)})

    def change(
        self,
        name: str,
        workflow: str,
        *,
        title: Texts | str,
        opener: Texts | str = "",
        suggested: Sequence[Texts | str] = (),
    ) -> App:
        """Give an app another workflow and face."""
        return self._http.send("PUT", "apps", name, body=_face(workflow, title, opener, suggested))

    def chat(
        self, name: str, query: str, *, conversation_id: str | None = None, inputs: Mapping[str, Any] | None = None
    ) -> Message:
        """Ask, and wait for the whole answer."""
        body = {"query": query, "conversation_id": conversation_id, "inputs": {**(inputs or {})}}
        return self._http.post("apps", name, "chat", body=body)

    def stream(
        self, name: str, query: str, *, conversation_id: str | None = None, inputs: Mapping[str, Any] | None = None
    ) -> Iterator[ServerEvent]:
        """Ask, and yield `start`, `node`, `delta`, `sources` and `done` as they come; raise what the run failed of."""
        body = {"query": query, "conversation_id": conversation_id, "inputs": {**(inputs or {})}, "stream": True}
        for event in self._http.stream("POST", "apps", name, "chat", body=body):
            if event.name == "error":
                raise rebuilt(event.data)
            yield event

    def ask(self, query: str, *, context: str = "", temperature: float | None = None, app: str = "") -> ShortAnswer:
        """Ask one question in a conversation of its own; without an app the one that was published first."""
        params = {"query": query, "context": context, "temperature": temperature, "app": app}
        return self._http.get("chat", **params)

    def feedback(
        self,
        message_id: str,
        rating: Literal["up", "down"] | None,
        *,
        reason: str | None = None,
        answer: str | None = None,
        label: str | None = None,
    ) -> Opinion | None:
        """Rate one's own message, change the rating, or take it back with None."""
        body = {"rating": rating, "reason": reason, "answer": answer, "label": label}
        path = ("messages", message_id, "feedback")
        return self._http.send("POST", *path, body=body, is_repeatable=True)["feedback"]


class Conversations:
    """One's own conversations."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self, *, app: str = "", before: float | None = None, limit: int = 50) -> Sequence[Conversation]:
        """The last used first."""
        return self._http.get("conversations", app=app, before=before, limit=limit)["items"]

    def messages(self, conversation_id: str, *, before: float | None = None, limit: int = 100) -> Sequence[Message]:
        """The last messages in reading order."""
        return self._http.get("conversations", conversation_id, "messages", before=before, limit=limit)["items"]

    def delete(self, conversation_id: str) -> None:
        self._http.send("DELETE", "conversations", conversation_id)


class Traces:
    """What happened during each run."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self, *, app: str = "", status: str = "", before: str = "", limit: int = 50) -> Sequence[TraceSummary]:
        return self._http.get("traces", app=app, status=status, before=before, limit=limit)["items"]

    def get(self, trace_id: str) -> Trace:
        return self._http.get("traces", trace_id)


def _face(workflow: str, title: Texts | str, opener: Texts | str, suggested: Sequence[Texts | str]) -> dict[str, Any]:
    return {"workflow": workflow, "title": title, "opener": opener, "suggested": [*suggested]}
