"""Durable background work: a job survives kill -9 and goes on at its first unfinished step.

Built on DBOS with its own database file; everything stored is JSON.
"""

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from dbos import error as dbos_error
from sqlalchemy import make_url

from inhouse.core.db import driver_url
from inhouse.core.errors import InhouseError, Invalid, NotFound

P = ParamSpec("P")
R = TypeVar("R")

JsonDict = dict[str, Any]
JobFunction = Callable[["JobContext", JsonDict], JsonDict | None]

APPLICATION_VERSION = "1"
"""Raised only when stored jobs of an older release must not be resumed by a newer one."""

MAX_RECOVERIES = 20
_log = logging.getLogger(__name__)

_STATUS = {
    "ENQUEUED": "queued",
    "DELAYED": "queued",
    "PENDING": "running",
    "SUCCESS": "succeeded",
    "ERROR": "failed",
    "CANCELLED": "cancelled",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
}


class UnknownJob(NotFound):
    """No job has that id or kind."""


class JobsNotRunning(Invalid):
    """Jobs were used before `launch()` or registered after it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as stored: `status` is queued, running, succeeded, failed or cancelled."""

    id: str
    name: str
    status: str
    result: JsonDict | None
    error: str | None


class JobContext:
    """What a running job may do with its own durability."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id

    def step(self, name: str, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn` once: after a crash a finished step gives its stored result (JSON) instead of running again."""
        return DBOS.run_step({"name": name}, fn, *args, **kwargs)


class Jobs:
    """The job runner of this process. There can be one at a time (DBOS is a process-wide singleton).

    Register every kind of job first, then `launch()`: unfinished jobs of the last life go on at once.
    """

    def __init__(self, url: str, *, poll_s: float = 0.25) -> None:
        self._url = driver_url(url)
        self._poll_s = poll_s
        self._running = False
        self._workflows: dict[str, Callable[[JsonDict], JsonDict | None]] = {}
        self._concurrency: dict[str, int] = {}
        self._done = threading.Condition()
        DBOS.destroy(destroy_registry=True)

    def register(self, name: str, fn: JobFunction, *, concurrency: int = 1) -> None:
        """Make a kind of job known; at most `concurrency` of it run at a time on this machine."""
        if self._running:
            raise JobsNotRunning(f"The job {name!r} is registered too late.", hint="Register jobs before launch().")

        def workflow(arguments: JsonDict) -> JsonDict | None:
            job_id = DBOS.workflow_id
            assert job_id is not None
            try:
                return fn(JobContext(job_id), arguments)
            except (InhouseError, dbos_error.DBOSWorkflowCancelledError) as error:
                _log.warning("Job %s (%s) failed: %s", job_id, name, error)
                raise
            except Exception:
                _log.exception("Job %s (%s) failed unexpectedly.", job_id, name)
                raise

        workflow.__qualname__ = workflow.__name__ = name
        self._workflows[name] = DBOS.workflow(name=name, max_recovery_attempts=MAX_RECOVERIES)(workflow)
        self._concurrency[name] = concurrency

    def launch(self) -> None:
        _prepare_sqlite(self._url)
        config = DBOSConfig(
            name="inhouse",
            system_database_url=self._url,
            application_version=APPLICATION_VERSION,
            executor_id="local",
            enable_otlp=False,
            log_level="ERROR",
            serializer=DBOSPortableJSONSerializer(),
            scheduler_polling_interval_sec=30.0,
            notification_listener_polling_interval_sec=self._poll_s,
        )
        DBOS(config=config)
        DBOS.launch()
        for name, concurrency in self._concurrency.items():
            DBOS.register_queue(
                name,
                worker_concurrency=concurrency,
                polling_interval_sec=self._poll_s,
                on_conflict="always_update",
            )
        self._running = True

    def close(self) -> None:
        """Stop. What is running is picked up again by the next `launch()`."""
        self._running = False
        DBOS.destroy(destroy_registry=True)

    def submit(self, name: str, arguments: Mapping[str, Any], *, job_id: str) -> None:
        """Queue a job. The same `job_id` again is the same job, whatever its arguments."""
        if not self._running:
            raise JobsNotRunning("The job runner is not running.", hint="Call launch() first.")
        if name not in self._workflows:
            raise UnknownJob(f"There is no kind of job named {name!r}.", hint="Known: " + ", ".join(self._workflows))
        payload = json.loads(json.dumps(dict(arguments), allow_nan=False))
        # outside of the context of a job that may be submitting this one: a job that was recovered takes the first one
        # it submits for the first one that it had submitted before the crash, and queues nothing
        Context().run(self._enqueue, name, payload, job_id)

    def _enqueue(self, name: str, payload: JsonDict, job_id: str) -> None:
        with SetWorkflowID(job_id):
            DBOS.enqueue_workflow(name, self._workflows[name], payload)

    def get(self, job_id: str) -> Job:
        status = DBOS.get_workflow_status(job_id)
        if status is None:
            raise UnknownJob(f"There is no job {job_id!r}.")
        return Job(
            id=job_id,
            name=status.name,
            status=_STATUS[status.status],
            result=status.output,
            error=str(status.error) if status.error is not None else None,
        )


def _prepare_sqlite(url: str) -> None:
    """DBOS opens SQLite in rollback mode; WAL is 1.4-1.8 times faster and a property of the file."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        connection = sqlite3.connect(parsed.database)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
