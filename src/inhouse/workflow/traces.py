"""Traces of runs: taken in memory, written behind the request, read back later."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from inhouse.core.behind import WriteBehind
from inhouse.core.db import Database
from inhouse.core.errors import NotFound
from inhouse.core.principal import Principal
from inhouse.core.trace import Trace
from inhouse.workflow import store
from inhouse.workflow.store import TraceRow

_MAX_TEXT = 8_000
_MAX_ITEMS = 50
_MAX_DEPTH = 6


class TraceNotFound(NotFound):
    """There is no such trace, or it is not the caller's to see."""


class Traces:
    """The traces of all runs. `put` never waits for the database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._behind: WriteBehind[Trace] = WriteBehind(self._write, name="traces")

    def start(self) -> None:
        self._behind.start()

    def close(self) -> None:
        self._behind.close()

    @property
    def dropped(self) -> int:
        return self._behind.dropped

    def put(self, trace: Trace) -> bool:
        """Keep a trace that is over; False when there was no room for it."""
        return self._behind.put(trace)

    def get(self, principal: Principal, id: str) -> TraceRow:
        """One trace with its spans, also when its run ended just now."""
        self._behind.drain()
        with self._db.read() as conn:
            row = store.find_trace(conn, principal, id)
        if row is None:
            raise TraceNotFound(f"There is no trace {id!r}.", hint="Look at the list of traces.")
        return row

    def list(
        self, principal: Principal, *, limit: int = 50, before: str = "", app: str = "", status: str = ""
    ) -> Sequence[TraceRow]:
        """Traces, newest first; `before` is the id of the last one of the page before."""
        with self._db.read() as conn:
            return store.list_traces(conn, principal, limit=limit, before=before, app=app, status=status)

    def _write(self, traces: Sequence[Trace]) -> None:
        rows = [_row(trace) for trace in traces]
        with self._db.write() as conn:
            store.insert_traces(conn, rows)


def _row(trace: Trace) -> TraceRow:
    return TraceRow(
        id=trace.id,
        workspace_id=trace.workspace_id,
        user_id=trace.user_id,
        workflow=trace.workflow,
        workflow_version=trace.workflow_version,
        app=trace.app,
        conversation_id=trace.conversation_id,
        status=trace.status,
        started_at=trace.started_at,
        duration_ms=trace.duration_ms,
        input=capped(trace.input),
        output=capped(trace.output),
        error=capped(trace.error),
        model_versions=dict(trace.model_versions),
        spans=[capped(span.wire()) for span in trace.spans],
    )


def capped(value: Any, depth: int = 0) -> Any:
    """A copy that is safe to store: long texts and lists are cut, and say so; deep values are left out."""
    if isinstance(value, str):
        text = value.replace("\0", "\ufffd")  # PostgreSQL cannot store NUL
        more = len(text) - _MAX_TEXT
        return text if more <= 0 else f"{text[:_MAX_TEXT]}… ({more} more characters)"
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        kept = {str(capped(str(key))): capped(item, depth + 1) for key, item in list(value.items())[:_MAX_ITEMS]}
        return kept if len(value) <= _MAX_ITEMS else {**kept, "…": f"{len(value) - _MAX_ITEMS} more"}
    if isinstance(value, (list, tuple)):
        kept = [capped(item, depth + 1) for item in value[:_MAX_ITEMS]]
        return kept if len(value) <= _MAX_ITEMS else [*kept, f"… ({len(value) - _MAX_ITEMS} more)"]
    return capped(str(value))
