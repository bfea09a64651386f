from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from inhouse.client import types
from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.data.datasets import Datasets
from inhouse.data.examples import Example
from inhouse.data.labelling import schemas
from inhouse.data.labelling.api import router
from inhouse.data.labelling.queues import Queues
from inhouse.server import errors


class AlwaysLeave:
    async def guess(
        self, principal: Principal, model: str, examples: Sequence[Example]
    ) -> tuple[str, list[Mapping[str, Any]]]:
        return f"{model}:1", [{"scores": {"leave": 0.8, "travel": 0.2}} for _ in examples]


@pytest.fixture
async def http(sqlite: Database, blobs: Blobs, principal: Principal) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    errors.install(app)
    app.include_router(router(Queues(sqlite, Datasets(sqlite, blobs), AlwaysLeave())))

    async def signed_in(scope, receive, send):
        name = dict(scope["headers"]).get(b"x-user", b"user_ann").decode()
        await app({**scope, "principal": replace(principal, user_id=name)}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(signed_in), base_url="http://test") as client:
        yield client


QUEUE = {"name": "desk", "dataset": "intents", "labels": ["leave", "travel"], "model": "intent", "annotators": 2}


async def test_a_queue_goes_from_rows_to_a_dataset_version(http: httpx.AsyncClient) -> None:
    assert (await http.post("/label-queues", json=QUEUE)).status_code == 201
    rows = [{"text": "a day off"}, {"text": "a train to Bern", "user": "bob"}]
    assert (await http.post("/label-queues/desk/tasks", json={"rows": rows})).json() == {"added": 2}
    assert (await http.post("/label-queues/desk/guess")).json() == {"guessed": 2}
    for user in ("user_ann", "user_bob"):
        head = {"x-user": user}
        while (task := (await http.post("/label-queues/desk/next", headers=head)).json()["task"]) is not None:
            assert task["prediction"]["answer"] == {"label": "leave"}
            label = "leave" if "day off" in task["text"] else "travel"
            url = f"/label-queues/desk/tasks/{task['id']}/answer"
            await http.put(url, json={"answer": {"label": label}, "seconds": 2.5}, headers=head)

    progress = (await http.get("/label-queues/desk")).json()
    taken = (await http.post("/label-queues/desk/take", json={})).json()

    assert (progress["done"], progress["alpha"], progress["model_agreement"]) == (2, 1.0, 0.5)
    assert taken["version"]["reference"] == "intents@v1"
    assert taken["version"]["labels"] == {"leave": 1, "travel": 1}
    assert (await http.get("/label-queues")).json()["items"][0]["counts"] == {"taken": 2}


async def test_a_bad_answer_says_what_is_wrong(http: httpx.AsyncClient) -> None:
    await http.post("/label-queues", json=QUEUE)
    await http.post("/label-queues/desk/tasks", json={"rows": [{"text": "a day off"}]})
    task = (await http.post("/label-queues/desk/next")).json()["task"]

    refused = await http.put(f"/label-queues/desk/tasks/{task['id']}/answer", json={"answer": {"label": "food"}})

    assert refused.status_code == 422
    assert "food" in refused.text


async def test_rows_come_from_one_place(http: httpx.AsyncClient) -> None:
    await http.post("/label-queues", json=QUEUE)

    refused = await http.post("/label-queues/desk/tasks", json={"rows": [{"text": "x"}], "dataset": "intents"})

    assert refused.status_code == 422


@pytest.mark.parametrize(
    ("known", "shape"),
    [
        (types.LabelQueue, schemas.QueueOut),
        (types.LabelTask, schemas.TaskOut),
        (types.LabelAnswer, schemas.GivenOut),
        (types.NextLabelTask, schemas.NextTask),
        (types.LabelProgress, schemas.ProgressOut),
        (types.TakenLabels, schemas.TakenOut),
    ],
)
def test_the_clients_types_are_the_servers_shapes(known: type, shape: type) -> None:
    assert set(known.__annotations__) == set(shape.model_fields)  # pyright: ignore[reportAttributeAccessIssue]
