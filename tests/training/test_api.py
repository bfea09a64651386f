import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from inhouse.core.events import EventLog
from inhouse.core.principal import Principal
from inhouse.training import comparison, store
from inhouse.training.api import NothingToCompare, router
from inhouse.training.runs import RunNotFound, Runs
from inhouse.training.store import Run


@pytest.fixture
async def http(runs: Runs, principal: Principal) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(router(runs))

    async def signed_in(scope, receive, send):
        await app({**scope, "principal": principal}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(signed_in), base_url="http://test") as client:
        yield client


def sent(stream: str) -> list[tuple[str, dict[str, Any]]]:
    """The name and data of each server-sent event."""
    frames = [dict(line.split(": ", 1) for line in frame.split("\n")) for frame in stream.strip().split("\n\n")]
    return [(frame["event"], json.loads(frame["data"])) for frame in frames]


async def test_recipes_come_with_their_form_in_both_languages(http: httpx.AsyncClient):
    classify = next(one for one in (await http.get("/recipes")).json()["items"] if one["name"] == "classify")

    assert classify["name"] == "classify"
    assert classify["settings"]["properties"]["epochs"]
    assert classify["texts"]["zh"]["fields"]["epochs"]["title"] == "训练轮数"


async def test_a_run_is_followed_to_its_model_and_replayed(http: httpx.AsyncClient):
    body = {"dataset": "desk", "model": "intent", "config": {"epochs": 6}}
    run = (await http.post("/runs", json=body)).json()

    live = sent((await http.get(f"/runs/{run['id']}/events", timeout=60)).text)
    last_step = max(data["seq"] for name, data in live if name == "step")
    replayed = sent((await http.get(f"/runs/{run['id']}/events?after={last_step}")).text)
    listed = (await http.get(f"/runs/{run['id']}/events", headers={"accept": "application/json"})).json()["items"]

    assert run["status"] == "queued"
    name, done = live[-1]
    assert (name, done["status"], done["model_version"]) == ("end", "succeeded", 1)
    assert done["metrics"]["accuracy"] > 0.5
    assert replayed == [item for item in live if item[0] == "end" or item[1]["seq"] > last_step]
    assert listed == [data for name, data in live if name != "end"]
    assert (await http.get(f"/runs/{run['id']}")).json() == done


@pytest.fixture
def two_runs(runs: Runs, principal: Principal, tmp_path: Path) -> list[str]:
    """Two runs that have ended, the second after a crash: it made its second step twice."""
    for number, epochs in enumerate((1, 2)):
        run = Run(
            f"run_{number}", principal.workspace_id, "me", 1.0, "classify", {"epochs": epochs}, "desk", 1, "intent", 0
        )
        metrics = {"accuracy": 0.5 + number / 4, "per_label": {}}
        with runs.db.write() as conn:
            store.insert_run(conn, replace(run, status="succeeded", metrics=metrics))
        with EventLog(tmp_path / "runs" / run.id / "events.jsonl") as events:
            for step in (1, 2, 2, 3):
                events.append("step", step=step, loss=1 / step, grad_norm=None)
            events.append("eval", step=3, split="dev", loss=0.5, accuracy=0.75)
    return ["run_0", "run_1"]


async def test_runs_are_put_side_by_side(http: httpx.AsyncClient, two_runs: list[str]):
    compared = (await http.get("/runs/compare", params={"ids": ",".join(two_runs)})).json()

    settings = {line["name"]: (line["values"], line["differs"]) for line in compared["settings"]}
    assert [run["id"] for run in compared["runs"]] == two_runs
    assert (settings["epochs"], settings["seed"]) == (([1, 2], True), ([0, 0], False))
    assert settings["schedule"] == (["linear", "linear"], False)  # left to its default
    assert compared["metrics"] == [{"name": "accuracy", "values": [0.5, 0.75], "differs": True}]
    curves = compared["curves"]["run_1"]
    assert curves["train"]["step"] == [1, 2, 3]
    assert curves["dev"] == {"step": [3], "loss": [0.5], "accuracy": [0.75]}


def test_a_long_curve_is_thinned_out_to_where_the_run_stands():
    told = [{"seq": step, "ts": 0.0, "type": "step", "step": step, "loss": 1.0} for step in range(1, 1001)]

    steps = comparison.curves(told)["train"]["step"]

    assert (len(steps), steps[-1]) == (200, 1000)


@pytest.mark.parametrize("ids", ["", ",", ",".join(f"run_{n}" for n in range(17))])
async def test_no_runs_and_too_many_cannot_be_compared(http: httpx.AsyncClient, ids: str):
    with pytest.raises(NothingToCompare):
        await http.get(f"/runs/compare?ids={ids}")


async def test_comparing_with_an_unknown_run_names_it(http: httpx.AsyncClient):
    with pytest.raises(RunNotFound, match="run_x"):
        await http.get("/runs/compare?ids=run_x")
