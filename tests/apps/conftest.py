"""A help desk of real parts: its workflow runs in the real engine, on scripted models."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from inhouse.apps.api import router
from inhouse.apps.chat import ChatApps
from inhouse.apps.conversations import Conversations
from inhouse.apps.feedback import Feedbacks
from inhouse.apps.publish import Apps, Face
from inhouse.apps.store import Message
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.server.errors import install
from inhouse.testing.services import FixedPassage, FixedPredictor, FixedRetriever, ScriptedChatModel, fixed_services
from inhouse.workflow.engine import Engine
from inhouse.workflow.traces import Traces
from inhouse.workflow.workflows import Workflows

PASSAGES = [
    FixedPassage("leave.pdf", "Annual leave is 15 days.", page=2, title="Leave", chunk_id="chunk_leave"),
    FixedPassage("travel.docx", "Hotels cost up to 120 euros a day.", title="Travel", chunk_id="chunk_travel"),
]
FACE = Face(title={"en": "Help desk", "zh": "服务台"}, opener={"en": "Hello", "zh": "你好"}, suggested=[])


def graph(prompt: str = "Answer from: {{#context#}}") -> dict[str, Any]:
    """Classify, retrieve, and answer with a model that remembers; refuse what no passage carries."""
    nodes = {
        "start": {"type": "start"},
        "intent": {"type": "classify", "model": "intent"},
        "search": {"type": "knowledge-retrieval", "dataset_ids": ["policies"]},
        "found": {
            "type": "if-else",
            "cases": [
                {
                    "case_id": "yes",
                    "conditions": [
                        {"variable_selector": ["search", "answerable"], "comparison_operator": "is", "value": "true"}
                    ],
                }
            ],
        },
        "llm": {
            "type": "llm",
            "model": {"name": "default", "completion_params": {"temperature": 0.1}},
            "prompt_template": [{"role": "system", "text": prompt}],
            "context": {"enabled": True, "variable_selector": ["search", "result"]},
            "memory": {"window": {"enabled": True, "size": 3}},
        },
        "reply": {"type": "answer", "answer": "{{#llm.text#}}"},
        "refuse": {"type": "answer", "answer": "The documents don't say."},
    }
    edges = [
        ("start", "source", "intent"),
        ("intent", "source", "search"),
        ("search", "source", "found"),
        ("found", "yes", "llm"),
        ("found", "false", "refuse"),
        ("llm", "source", "reply"),
    ]
    return {
        "nodes": [{"id": id, "data": data} for id, data in nodes.items()],
        "edges": [{"source": source, "sourceHandle": handle, "target": target} for source, handle, target in edges],
    }


@dataclass
class Desk:
    """A published help desk, and HTTP clients for its users."""

    db: Database
    chat: ScriptedChatModel
    burst: int = 60
    predictor: FixedPredictor = field(
        default_factory=lambda: FixedPredictor({LEAVE: "leave", "hotel": "travel"}, version=2)
    )
    users: dict[str, Principal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        services = fixed_services(
            chat=self.chat,
            predictor=self.predictor,
            retriever=FixedRetriever({"policies": PASSAGES}),
        )
        self.traces = Traces(self.db)
        self.workflows = Workflows(self.db, Engine(services), self.traces)
        self.apps = Apps(self.db, self.workflows)
        self.conversations = Conversations(self.db, window=3)
        self.feedbacks = Feedbacks(self.db, self.conversations, burst=self.burst, per_second=0.01)
        self.chats = ChatApps(self.apps, self.conversations, self.workflows, services, self.traces)
        self._app = FastAPI()
        install(self._app)
        self._app.include_router(router(self.apps, self.chats, self.conversations, self.feedbacks))

    @contextmanager
    def running(self) -> Iterator["Desk"]:
        self.traces.start()
        self.conversations.start()
        yield self
        self.conversations.close()
        self.traces.close()

    def publish(self, principal: Principal) -> None:
        self.workflows.create(principal, "help", graph())
        self.apps.publish(principal, "helpdesk", "help", FACE)

    async def serve(self, scope, receive, send) -> None:
        """The HTTP application; the header `x-user` says who asks."""
        user = dict(scope["headers"]).get(b"x-user", b"").decode()
        await self._app({**scope, "principal": self.users.get(user)}, receive, send)

    def as_user(self, principal: Principal) -> httpx.AsyncClient:
        self.users[principal.user_id] = principal
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.serve),
            base_url="http://test",
            headers={"x-user": principal.user_id},
        )


@pytest.fixture
def chat() -> ScriptedChatModel:
    return ScriptedChatModel(["You have ", "15 days [1]."])


@pytest.fixture
def desk(sqlite: Database, chat: ScriptedChatModel, principal: Principal) -> Iterator[Desk]:
    with Desk(sqlite, chat).running() as desk:
        desk.publish(principal)
        yield desk


@pytest.fixture
async def ann(desk: Desk, principal: Principal) -> AsyncIterator[httpx.AsyncClient]:
    async with desk.as_user(principal) as http:
        yield http


@pytest.fixture
async def ben(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A colleague of ann's, in the same workspace."""
    async with desk.as_user(Principal("default", "user_ben", frozenset({"*"}))) as http:
        yield http


@pytest.fixture
async def eve(desk: Desk, stranger: Principal) -> AsyncIterator[httpx.AsyncClient]:
    async with desk.as_user(stranger) as http:
        yield http


LEAVE = "How many days of annual leave?"


async def ask(http: httpx.AsyncClient, query: str = LEAVE, **more: Any) -> dict[str, Any]:
    response = await http.post("/apps/helpdesk/chat", json={"query": query, **more})
    assert response.status_code == 200, response.text
    return response.json()


def events(body: str) -> Sequence[tuple[str, dict[str, Any]]]:
    """The events of a stream."""
    frames = (frame.split("\n") for frame in body.strip().split("\n\n"))
    return [(head.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for head, data in frames]


def say(conversations: Conversations, principal: Principal, query: str, **changes: Any) -> Message:
    """One turn in a conversation of its own."""
    thread = conversations.begin(principal, "helpdesk", query)
    message = Message(
        id=f"message_{query}",
        conversation_id=thread.conversation.id,
        workspace_id=principal.workspace_id,
        owner_id=principal.user_id,
        app="helpdesk",
        query=query,
        answer=f"{query}!",
        status="succeeded",
        error=None,
        sources=[],
        intent=None,
        trace_id="trace_1",
        workflow="help",
        workflow_version=1,
        model_versions={"intent": 2, "default": "scripted"},
        created_at=1.0,
        duration_ms=5.0,
    )
    message = replace(message, **changes)
    conversations.record(thread, message)
    return message


class Browser:
    """A client that reads a stream and leaves when it has seen enough."""

    def __init__(self, desk: Desk, principal: Principal, query: str = LEAVE) -> None:
        desk.users[principal.user_id] = principal
        self._desk = desk
        self._body = json.dumps({"query": query, "stream": True}).encode()
        self._user = principal.user_id.encode()
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._left = asyncio.Event()

    async def read_until(self, event: str) -> None:
        """Send the question, read up to the event, then close the connection and wait for the server."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/apps/helpdesk/chat",
            "raw_path": b"/apps/helpdesk/chat",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"x-user", self._user)],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "scheme": "http",
        }
        self._inbox.put_nowait({"type": "http.request", "body": self._body, "more_body": False})

        async def send(message: dict[str, Any]) -> None:
            if f"event: {event}\n".encode() in message.get("body", b""):
                self._inbox.put_nowait({"type": "http.disconnect"})

        await self._desk.serve(scope, self._inbox.get, send)
