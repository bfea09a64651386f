"""The company's workflows: every save is a new version, live at once."""

import asyncio
import hashlib
import json
import re
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Invalid, NotFound
from inhouse.core.ids import now
from inhouse.core.principal import Principal
from inhouse.core.trace import Trace
from inhouse.workflow import store
from inhouse.workflow.context import RunInputs
from inhouse.workflow.document import plain, read_document
from inhouse.workflow.engine import Engine
from inhouse.workflow.events import Event
from inhouse.workflow.graph import Compiled, compile_graph
from inhouse.workflow.store import WorkflowVersion
from inhouse.workflow.traces import Traces

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MAX_CACHED = 500


class WorkflowNotFound(NotFound):
    """There is no such workflow or version."""


class WorkflowExists(Conflict):
    """The name is taken."""


class NameInvalid(Invalid):
    """The name cannot be used."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version that is ready to run."""

    number: int
    graph: Compiled


class Workflows:
    """Saves, finds and runs workflows. Compiled graphs stay in memory, so a run does not wait for the database."""

    def __init__(
        self, db: Database, engine: Engine, traces: Traces, *, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._db = db
        self._changed = changed
        self._engine = engine
        self._traces = traces
        self._loaded: dict[tuple[str, str, int | None], Loaded] = {}
        self._loading = threading.Lock()

    def forget(self) -> None:
        """Read every workflow anew when it is next asked for: another server has saved one."""
        with self._loading:
            self._loaded.clear()

    def create(
        self, principal: Principal, name: str, graph: Mapping[str, Any] | str, *, note: str = ""
    ) -> WorkflowVersion:
        """Save the first version of a workflow."""
        if not _NAME.fullmatch(name):
            raise NameInvalid(
                f"A workflow cannot be called {name!r}.",
                hint="Use up to 64 lower-case letters, digits, - and _; begin with a letter or digit.",
            )
        document, compiled = _checked(graph)
        with self._db.write() as conn:
            if store.workflow_id(conn, principal, name) is not None:
                raise WorkflowExists(f"There is already a workflow named {name!r}.", hint="Save a new version of it.")
            workflow = store.insert_workflow(conn, principal, name)
            version = _version(principal, name, 1, document, note)
            store.insert_version(conn, principal, workflow, version)
        self._changed()
        self._remember(principal, name, Loaded(1, compiled))
        return version

    def save(
        self, principal: Principal, name: str, graph: Mapping[str, Any] | str, *, note: str = ""
    ) -> WorkflowVersion:
        """Save a new version, live from the next run on. A graph that has not changed keeps its version."""
        document, compiled = _checked(graph)
        with self._db.write() as conn:
            workflow = store.workflow_id(conn, principal, name)
            latest = store.find_version(conn, principal, name)
            if workflow is None or latest is None:
                raise _not_found(name)
            version = _version(principal, name, latest.number + 1, document, note)
            if version.digest == latest.digest:
                return latest
            store.insert_version(conn, principal, workflow, version)
        self._changed()
        self._remember(principal, name, Loaded(version.number, compiled))
        return version

    def get(self, principal: Principal, name: str, version: int | None = None) -> WorkflowVersion:
        """One version; the newest without a number."""
        with self._db.read() as conn:
            found = store.find_version(conn, principal, name, version)
        if found is None:
            raise _not_found(name, version)
        return found

    def versions(self, principal: Principal, name: str) -> Sequence[WorkflowVersion]:
        """All versions, newest first."""
        with self._db.read() as conn:
            found = store.list_versions(conn, principal, name)
        if not found:
            raise _not_found(name)
        return found

    def list(self, principal: Principal) -> Sequence[WorkflowVersion]:
        """The newest version of every workflow."""
        with self._db.read() as conn:
            return store.list_latest(conn, principal)

    async def run(
        self, principal: Principal, name: str, inputs: RunInputs, *, version: int | None = None, app: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Run a version, the newest without a number, and keep its trace, also when the caller leaves early."""
        loaded = await self.load(principal, name, version)
        trace = Trace(
            principal.workspace_id,
            inputs.user_id or principal.user_id,
            workflow=name,
            workflow_version=loaded.number,
            app=app,
            conversation_id=inputs.conversation_id,
        )
        try:
            async with aclosing(self._engine.run(loaded.graph, inputs, principal, trace)) as events:
                async for event in events:
                    yield event
        finally:
            self._traces.put(trace)

    async def load(self, principal: Principal, name: str, version: int | None = None) -> Loaded:
        """A version compiled, from memory when it ran before."""
        loaded = self._loaded.get((principal.workspace_id, name, version))
        if loaded is None:
            found = await asyncio.to_thread(self.get, principal, name, version)
            loaded = Loaded(found.number, compile_graph(found.graph))
            self._remember(principal, name, loaded, version)
        return loaded

    def _remember(self, principal: Principal, name: str, loaded: Loaded, version: int | None = None) -> None:
        """Keep a compiled graph. A slow reader never puts an old one over the one that was just saved."""
        key = (principal.workspace_id, name, version)
        with self._loading:
            present = self._loaded.pop(key, None)
            self._loaded[key] = present if present and present.number > loaded.number else loaded
            while len(self._loaded) > _MAX_CACHED:
                del self._loaded[next(iter(self._loaded))]


def _checked(graph: Mapping[str, Any] | str) -> tuple[dict[str, Any], Compiled]:
    document = read_document(graph) if isinstance(graph, str) else plain(dict(graph))
    return document, compile_graph(document)


def _version(principal: Principal, name: str, number: int, document: dict[str, Any], note: str) -> WorkflowVersion:
    canonical = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    digest = f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"
    return WorkflowVersion(name, number, document, digest, note, principal.user_id, now())


def _not_found(name: str, version: int | None = None) -> WorkflowNotFound:
    what = f"no workflow named {name!r}" if version is None else f"no version {version} of a workflow {name!r}"
    return WorkflowNotFound(f"There is {what}.", hint="Look at the list of workflows.")
