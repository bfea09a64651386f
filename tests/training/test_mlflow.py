"""Against a small server that holds requests to the shapes of MLflow's REST API."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from inhouse.core.events import EventLog
from inhouse.training.mlflow import Mlflow
from inhouse.training.store import Run

RUN = Run("run_1", "ws", "me", 1.0, "classify", {"epochs": 3}, "desk", 2, "intent", 7, started_at=1000.0)
FIELDS = {
    "experiments/create": {"name"},
    "runs/search": {"experiment_ids", "filter", "max_results"},
    "runs/create": {"experiment_id", "run_name", "start_time", "tags"},
    "runs/log-batch": {"run_id", "metrics", "params"},
    "runs/update": {"run_id", "status", "end_time"},
}


class Tracking(ThreadingHTTPServer):
    """What MLflow would keep of one experiment."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.experiment = ""
        self.runs: list[dict[str, Any]] = []
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        assert body.keys() <= FIELDS[path]
        if path == "experiments/create":
            if self.experiment:
                return 400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "It exists."}
            self.experiment = body["name"]
            return 200, {"experiment_id": "e1"}
        if path == "runs/search":
            wanted = [run for run in self.runs if body["filter"] == f"tags.`inhouse.run_id` = '{run['tags'][_OURS]}'"]
            return 200, {"runs": [{"info": {"run_id": run["id"]}} for run in wanted]} if wanted else {}
        if path == "runs/create":
            assert isinstance(body["start_time"], int)
            tags = {tag["key"]: tag["value"] for tag in body["tags"]}
            self.runs.append({"id": f"r{len(self.runs)}", "tags": tags, "metrics": set(), "params": {}, "status": ""})
            return 200, {"run": {"info": {"run_id": self.runs[-1]["id"]}}}
        (run,) = [run for run in self.runs if run["id"] == body["run_id"]]
        for metric in body.get("metrics", ()):
            run["metrics"].add((metric["key"], metric["step"], metric["value"], metric["timestamp"]))
        run["params"] |= {param["key"]: param["value"] for param in body.get("params", ())}
        run["status"] = body.get("status", run["status"])
        return 200, {}


class Requests(BaseHTTPRequestHandler):
    server: Tracking

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.reply(*self.server.answer(self.path.removeprefix("/api/2.0/mlflow/"), body))

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        assert asked.path == "/api/2.0/mlflow/experiments/get-by-name"
        assert parse_qs(asked.query) == {"experiment_name": [self.server.experiment]}
        self.reply(200, {"experiment": {"experiment_id": "e1"}})

    def reply(self, status: int, body: dict[str, Any]) -> None:
        self.server.tokens.add(self.headers["authorization"])
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


_OURS = "inhouse.run_id"


@pytest.fixture
def tracking() -> Iterator[Tracking]:
    with Tracking() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def train(run: Path, server: Mlflow, *, steps: range, end: str) -> None:
    with server.following(RUN, run), EventLog(run / "events.jsonl") as events:
        for step in steps:
            events.append("step", step=step, epoch=1, loss=1 / step, eta_s=1.0)
        events.append("evaluated", metrics={"accuracy": 0.9})
        events.append(end)


def test_a_run_is_logged_with_settings_curves_and_end(tmp_path: Path, tracking: Tracking):
    train(tmp_path, Mlflow(tracking.url, experiment="desk & co", token="secret"), steps=range(1, 3), end="finished")

    (run,) = tracking.runs
    assert (tracking.experiment, run["status"], run["tags"][_OURS]) == ("desk & co", "FINISHED", "run_1")
    assert run["params"] == {"recipe": "classify", "dataset": "desk@v2", "seed": "7", "epochs": "3"}
    measured = sorted((key, value) for key, _, value, _ in run["metrics"])
    assert measured == [("test/accuracy", 0.9), ("train/loss", 0.5), ("train/loss", 1.0)]
    assert tracking.tokens == {"Bearer secret"}


def test_a_run_that_goes_on_stays_one_run_there(tmp_path: Path, tracking: Tracking):
    server = Mlflow(tracking.url, experiment="inhouse")
    train(tmp_path, server, steps=range(1, 3), end="stopped")
    status = tracking.runs[0]["status"]

    train(tmp_path, server, steps=range(3, 5), end="finished")

    (run,) = tracking.runs
    assert (status, run["status"]) == ("KILLED", "FINISHED")
    assert sorted(step for key, step, *_ in run["metrics"] if key == "train/loss") == [1, 2, 3, 4]


def test_what_is_told_again_after_a_crash_is_no_news(tmp_path: Path, tracking: Tracking):
    server = Mlflow(tracking.url, experiment="inhouse")
    train(tmp_path, server, steps=range(1, 3), end="finished")
    before = set(tracking.runs[0]["metrics"])
    (tmp_path / "mlflow.json").unlink()

    with server.following(RUN, tmp_path):
        pass

    assert len(tracking.runs) == 1
    assert tracking.runs[0]["metrics"] == before


def test_a_server_that_is_away_costs_a_warning_only(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        train(tmp_path, Mlflow("http://127.0.0.1:1", experiment="inhouse"), steps=range(1, 3), end="finished")

    assert "run_1 could not be logged to MLflow" in caplog.text
