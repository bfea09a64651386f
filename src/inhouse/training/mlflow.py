"""Runs on an MLflow server, by its REST API: settings, curves, metrics and how each run ended.

It reads a run's event file beside the training, so that a server that is slow or away costs the training nothing.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from inhouse.core.errors import InhouseError, Unavailable
from inhouse.core.events import EventLog
from inhouse.core.http import Http, Timeouts, endpoint
from inhouse.core.ids import now
from inhouse.training.reports import figures
from inhouse.training.spec import EVENTS
from inhouse.training.store import Run

LOOK_S = 2.0
BATCH = 500
"""MLflow takes up to 1000 metrics in one request."""
_SEEN = "mlflow.json"
_TAG = "inhouse.run_id"
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
_TIMEOUTS = Timeouts(connect_s=5, read_s=20)
_GRACE_S = 10.0
"""A server that is away holds up the end of a run no longer than this."""
_log = logging.getLogger(__name__)


class MlflowRefused(Unavailable):
    """The MLflow server did not do what it was asked."""


class Mlflow:
    """An MLflow server."""

    def __init__(self, url: str, *, experiment: str, token: str = "") -> None:
        self._url = url.rstrip("/")
        self._experiment = experiment
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    @contextmanager
    def following(self, run: Run, directory: Path) -> Generator[None]:
        """While the block lasts, tell the server what the run reports; at its end, the rest."""
        over = threading.Event()
        thread = threading.Thread(target=self._follow, args=(run, directory, over), name="inhouse-mlflow", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(_GRACE_S)

    def _follow(self, run: Run, directory: Path, over: threading.Event) -> None:
        """Failures are noted once and tried again at the next look."""
        is_away, is_last = False, False
        while not is_last:
            is_last = over.wait(LOOK_S)
            try:
                asyncio.run(self._bring_up_to_date(run, directory))
                is_away = False
            except InhouseError as error:
                if not is_away or is_last:
                    _log.warning("The run %s could not be logged to MLflow: %s", run.id, error)
                is_away = True

    async def _bring_up_to_date(self, run: Run, directory: Path) -> None:
        """Send what was not sent yet. What is sent twice, after a crash, is the same to MLflow as once."""
        seen = _read(directory / _SEEN)
        news = EventLog(directory / EVENTS).read(seen["after"])
        if not news:
            return
        http = Http(lambda host, port: (host, port) == endpoint(self._url))
        try:
            run_id = seen["run_id"] or await self._open(http, run)
            for batch in _batches(news):
                await self._post(http, "runs/log-batch", {"run_id": run_id, "metrics": batch})
            await self._post(http, "runs/update", {"run_id": run_id, **_state(news[-1])})
        finally:
            await http.close()
        (directory / _SEEN).write_text(json.dumps({"run_id": run_id, "after": news[-1]["seq"]}), encoding="utf-8")

    async def _open(self, http: Http, run: Run) -> str:
        """The run there that is ours: made, unless an earlier life has made it."""
        experiment = await self._experiment_id(http)
        mine = {"experiment_ids": [experiment], "filter": f"tags.`{_TAG}` = '{run.id}'", "max_results": 1}
        found = (await self._post(http, "runs/search", mine)).get("runs")
        if found:
            return found[0]["info"]["run_id"]
        tags = {_TAG: run.id, "inhouse.model": run.model, "mlflow.runName": run.name}
        made = await self._post(
            http,
            "runs/create",
            {
                "experiment_id": experiment,
                "run_name": run.name,
                "start_time": _ms(run.started_at or now()),
                "tags": _pairs(tags),
            },
        )
        run_id = made["run"]["info"]["run_id"]
        dataset = f"{run.dataset}@v{run.dataset_version}"
        params = {"recipe": run.recipe, "dataset": dataset, "seed": run.seed, **run.config}
        await self._post(http, "runs/log-batch", {"run_id": run_id, "params": _pairs(params)})
        return run_id

    async def _experiment_id(self, http: Http) -> str:
        name = {"name": self._experiment}
        try:
            return (await self._post(http, "experiments/create", name))["experiment_id"]
        except MlflowRefused as error:
            if error.details.get("error_code") != "RESOURCE_ALREADY_EXISTS":
                raise
        path = f"experiments/get-by-name?experiment_name={quote(self._experiment, safe='')}"
        return (await self._call(http, "GET", path))["experiment"]["experiment_id"]

    async def _post(self, http: Http, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call(http, "POST", path, json.dumps(body).encode())

    async def _call(self, http: Http, method: str, path: str, content: bytes | None = None) -> dict[str, Any]:
        headers = {"content-type": "application/json", **self._headers}
        url = f"{self._url}/api/2.0/mlflow/{path}"
        answer = await http.request(method, url, headers=headers, content=content, timeouts=_TIMEOUTS)
        try:
            said = answer.json()
        except ValueError:
            said = {}
        if answer.status_code >= 400 or not isinstance(said, dict):
            what = said.get("message", "") if isinstance(said, dict) else ""
            raise MlflowRefused(
                f"MLflow answered {answer.status_code} to {path.partition('?')[0]}: {what}",
                hint="Look at training.mlflow_url and training.mlflow_token.",
                error_code=said.get("error_code", "") if isinstance(said, dict) else "",
            )
        return said


def _batches(events: Sequence[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    metrics = [metric for event in events for metric in _metrics(event)]
    for start in range(0, len(metrics), BATCH):
        yield metrics[start : start + BATCH]


def _metrics(event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The numbers of an event as MLflow takes them. Its time is the event's own: the same again is no news."""
    for name, value in figures(event):
        yield {"key": name, "value": value, "timestamp": _ms(event["ts"]), "step": event.get("step", 0)}


def _state(event: Mapping[str, Any]) -> dict[str, Any]:
    status = _STATUS.get(event["type"])
    return {"status": status, "end_time": _ms(event["ts"])} if status else {"status": "RUNNING"}


def _pairs(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"key": key, "value": str(value)[:500]} for key, value in values.items()]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {"run_id": "", "after": 0}
