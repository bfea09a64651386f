"""From rows to answers over HTTP: what the training process writes is what `/predict` serves."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.training.conftest import PHRASES, write_jsonl

from inhouse.core.asgi import Receive, Scope, Send
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.serving.asgi import PredictApp
from inhouse.serving.deployments import Deployments
from inhouse.serving.matcher import Matcher
from inhouse.serving.pool import Pool
from inhouse.serving.predictor import NotAClassifier, Predictor
from inhouse.training.child import FINISHED, main
from inhouse.training.spec import DATASET, SPEC, Spec

LABELLED = [
    {"id": f"{topic}{n}", "text": phrase, "label": topic}
    for topic, phrases in PHRASES.items()
    for n, phrase in enumerate(phrases)
]
CUSTOMERS = [
    {
        "id": str(calls),
        "text": "",
        "label": "leaves" if calls > 15 else "stays",
        "content": {"features": {"calls": calls, "plan": plan}},
    }
    for calls in range(30)
    for plan in ("basic", "pro")
]


@dataclass
class OneModel:
    """Where the pool finds the only model."""

    directory: Path

    def resolve(self, workspace_id: str, name: str, version: int) -> Path:
        return self.directory


def train(run: Path, recipe: str, form: str, rows: list[dict[str, Any]], config: dict[str, Any]) -> Path:
    dataset = run / DATASET
    dataset.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        write_jsonl(dataset / f"{split}.jsonl", rows)
    (dataset / "dataset.json").write_text(json.dumps({"form": form}))
    (run / SPEC).write_text(Spec(recipe=recipe, config=config, threads=1).model_dump_json())
    assert main(run / SPEC) == FINISHED
    return run / "artifact"


@asynccontextmanager
async def served(
    artifact: Path, db: Database, principal: Principal
) -> AsyncIterator[tuple[Predictor, httpx.AsyncClient]]:
    pool = Pool(OneModel(artifact))
    predictor = Predictor(pool, Deployments(db))
    await predictor.deploy(principal, "product", {1: 1})
    app = PredictApp(predictor)

    async def signed_in(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "principal": principal}, receive, send)

    transport = httpx.ASGITransport(signed_in)  # type: ignore[arg-type]  # httpx has its own names for these types
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield predictor, client
    await pool.close()


@pytest.fixture
def embedder(tmp_path: Path) -> Path:
    return train(tmp_path / "run", "embed", "text", LABELLED, {"epochs": 30, "batch_size": 9, "learning_rate": 0.01})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return train(tmp_path / "run", "tabular", "table", CUSTOMERS, {"rounds": 20})


async def test_an_embedder_answers_with_vectors(embedder: Path, sqlite: Database, principal: Principal):
    async with served(embedder, sqlite, principal) as (_, http):
        one = (await http.post("/predict/product", json={"text": "holiday"})).json()
        two = (await http.post("/predict/product", json={"texts": ["holiday", "print"]})).json()

    assert one["vector"] == pytest.approx(two["predictions"][0]["vector"], abs=1e-5)
    assert (one["model"], one["model_version"], len(two["predictions"])) == ("product", 1, 2)


async def test_a_new_question_finds_the_known_one(embedder: Path, sqlite: Database, principal: Principal):
    async with served(embedder, sqlite, principal) as (predictor, _):
        matcher = await Matcher.of(predictor, principal, "product", ["年假余额", "forgot the password", "打印机卡纸"])

        found = await matcher.find(["holiday balance", "password expired", "qqqq xxxx"])

    assert [one and one.question for one in found] == ["年假余额", "forgot the password", None]


async def test_a_table_answers_with_labels_like_a_classifier(table: Path, sqlite: Database, principal: Principal):
    async with served(table, sqlite, principal) as (_, http):
        answer = await http.post(
            "/predict/product",
            json={"inputs": [{"features": {"calls": 29, "plan": "pro"}}, {"features": {"calls": 0, "plan": None}}]},
        )

    rows = answer.json()["predictions"]
    assert [row["prediction"] for row in rows] == ["leaves", "stays"]
    assert rows[0]["scores"].keys() == {"leaves", "stays"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"text": "29 calls"}, "named values"),
        ({"inputs": {"features": {"plan": "pro"}}}, "'calls' are missing"),
        ({"inputs": {"features": {"calls": "many", "plan": "pro"}}}, "'calls' is a number"),
        ({"inputs": {"features": {"calls": 1, "plan": "pro", "age": 3}}}, "no feature 'age'"),
        ({"inputs": [3]}, "cannot be used"),
    ],
)
async def test_values_that_do_not_fit_are_named(
    table: Path, sqlite: Database, principal: Principal, body: dict[str, Any], message: str
):
    async with served(table, sqlite, principal) as (_, http):
        answer = await http.post("/predict/product", json=body)

    assert answer.status_code == 422
    assert message in answer.json()["error"]["message"]


async def test_a_table_gives_texts_no_label(table: Path, sqlite: Database, principal: Principal):
    async with served(table, sqlite, principal) as (predictor, _):
        with pytest.raises(NotAClassifier, match="kind 'tabular'"):
            await predictor.predict(principal, "product", ["29 calls"])
