"""What the client does when a server has no time, breaks off or streams."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from inhouse.client import Client
from inhouse.client.errors import ConnectionBroke
from inhouse.core.errors import InhouseError, LimitExceeded, Unavailable

from .conftest import serving


@dataclass
class Script:
    """An ASGI app that gives its answers in order, the last one again and again."""

    answers: list[tuple[int, bytes]]
    requests: list[str] = field(default_factory=list)

    async def __call__(self, scope, receive, send) -> None:
        status, body = self.answers[min(len(self.requests), len(self.answers) - 1)]
        self.requests.append(f"{scope['method']} {scope['path']}")
        headers = [(b"content-type", b"application/json")]
        if not body:  # promises more than it gives
            headers.append((b"content-length", b"10"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def refusal(error: InhouseError, **details: Any) -> tuple[int, bytes]:
    error.details.update(details)
    return error.status, json.dumps(error.wire("req_1")).encode()


EMPTY = (200, b'{"items": []}')


@pytest.fixture
def script() -> Script:
    return Script([refusal(LimitExceeded("Busy."), retry_after_s=0.01), EMPTY])


@pytest.fixture
def client(script: Script) -> Iterator[Client]:
    with serving(script) as url, Client(url) as client:
        yield client


def test_reading_is_repeated_when_the_server_says_when(script: Script, client: Client):
    assert client.datasets.list() == []
    assert script.requests == ["GET /api/v1/datasets"] * 2


def test_what_may_not_happen_twice_is_not_repeated(script: Script, client: Client):
    with pytest.raises(LimitExceeded, match="Busy"):
        client.knowledge.create("policies")

    assert len(script.requests) == 1


def test_a_long_wait_is_left_to_the_caller(script: Script, client: Client):
    script.answers[0] = refusal(Unavailable("Away."), retry_after_s=600)

    with pytest.raises(Unavailable) as refused:
        client.datasets.list()

    assert refused.value.details["retry_after_s"] == 600


def test_repeating_has_an_end(script: Script, client: Client):
    script.answers[:] = [script.answers[0]]

    with pytest.raises(LimitExceeded):
        client.datasets.list()

    assert len(script.requests) == 4


def test_reading_is_repeated_when_the_line_drops(script: Script, client: Client):
    script.answers[:] = [(200, b""), EMPTY]

    assert client.datasets.list() == []


def test_a_line_that_drops_after_a_change_is_told(script: Script, client: Client):
    script.answers[:] = [(200, b""), EMPTY]

    with pytest.raises(ConnectionBroke):
        client.knowledge.create("policies")


def test_a_stream_ends_with_the_error_of_the_run(script: Script, client: Client):
    _, body = refusal(Unavailable("The model is away.", hint="Start it."))
    script.answers[:] = [(200, b'event: delta\ndata: {"text":"Hel"}\n\nevent: error\ndata: ' + body + b"\n\n")]
    stream = client.apps.stream("desk", "Hi")

    assert next(stream).data == {"text": "Hel"}
    with pytest.raises(Unavailable, match="The model is away") as failed:
        next(stream)
    assert failed.value.hint == "Start it."


def test_a_run_is_followed_to_its_end(script: Script, client: Client):
    events = b'id: 1\nevent: step\ndata: {"seq":1}\n\n: ping\n\nevent: end\ndata: {"status":"succeeded"}\n\n'
    script.answers[:] = [(200, events), (200, b'{"id": "run_1", "status": "succeeded"}')]
    heard: list[dict[str, Any]] = []

    run = client.runs.wait("run_1", each=heard.append)

    assert run["status"] == "succeeded"
    assert heard == [{"seq": 1}]
    assert script.requests == ["GET /api/v1/runs/run_1/events", "GET /api/v1/runs/run_1"]


def test_documents_are_waited_for(script: Script, client: Client):
    states = ("queued", "parsing", "ready")
    script.answers[:] = [(200, json.dumps({"items": [{"status": state}]}).encode()) for state in states]

    [document] = client.knowledge.wait("policies")

    assert document["status"] == "ready"
    assert len(script.requests) == 3


def test_predictions_go_to_the_data_plane(script: Script, client: Client):
    script.answers[:] = [(200, b'{"predictions": [{"prediction": "leave"}]}')]

    assert client.models.predict("intent", ["holiday"]) == [{"prediction": "leave"}]
    assert script.requests == ["POST /predict/intent"]
