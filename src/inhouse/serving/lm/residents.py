"""The models that are in memory now: loaded once for all who ask, let go when idle, never under anyone's feet."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from inhouse.core.errors import InhouseError, Invalid, Unavailable
from inhouse.serving.lm.runtime import Loaded

_RETRY_S = 10.0
Done = TypeVar("Done")
_log = logging.getLogger(__name__)


class ModelBroken(Invalid):
    """A model directory that looked right cannot be loaded."""


class ModelUnloaded(Unavailable):
    """The model was unloaded or replaced while it was being loaded."""


class Key(NamedTuple):
    """One model in memory. `adapter` only where it is part of the weights."""

    workspace_id: str
    name: str
    adapter: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """How to load a model. Another order for the same key means other weights: they take over once they are in."""

    load: Callable[[], Loaded]
    idle_s: float = 0.0
    version: str = ""
    abandoned: threading.Event = field(default_factory=threading.Event)
    """Set when nobody wants it any more while it loads."""


@dataclass(slots=True, eq=False)
class Resident:
    """A loaded model and who uses it."""

    order: Order
    loaded: Loaded
    in_use: int = 0
    used_at: float = field(default_factory=time.monotonic)
    is_retired: bool = False


class _Loading(NamedTuple):
    order: Order
    task: "asyncio.Task[Resident]"


@dataclass(frozen=True, slots=True)
class _Failure:
    order: Order
    error: InhouseError
    until: float


class Residents:
    """Models in memory by key. Lives in one event loop; loading runs on threads.

    A model that fails to load is not tried again for some seconds, so that requests cannot keep a machine busy with
    it. While new weights load, and where they cannot be loaded, the former ones answer.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._residents: dict[Key, Resident] = {}
        self._loading: dict[Key, _Loading] = {}
        self._failures: dict[Key, _Failure] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def get(self, key: Key) -> Resident | None:
        return self._residents.get(key)

    def state(self, key: Key) -> tuple[str, str]:
        """`unloaded`, `loading`, `loaded`, `restarting` or `failed`, and why it failed."""
        if key in self._loading:
            return "loading", ""
        if failure := self._failures.get(key):
            return "failed", failure.error.message
        resident = self._residents.get(key)
        return (resident.loaded.state, resident.loaded.error) if resident else ("unloaded", "")

    @asynccontextmanager
    async def using(self, key: Key, order: Order) -> AsyncIterator[Resident]:
        """The model, loaded if need be, which stays until the block ends."""
        resident = self._residents.get(key)
        if resident is None or resident.order is not order:
            resident = await self._renewed(key, order, resident)
        resident.in_use += 1
        try:
            yield resident
        finally:
            resident.in_use -= 1
            resident.used_at = time.monotonic()
            if resident.is_retired and not resident.in_use:
                self._let_go(resident)

    async def settled(self, key: Key) -> Resident | None:
        """The model in memory, after waiting for what is loading."""
        if loading := self._loading.get(key):
            await asyncio.wait([loading.task])
        return self._residents.get(key)

    def begin(self, key: Key, order: Order) -> None:
        """Start loading, without waiting for it."""
        self._failures.pop(key, None)
        resident = self._residents.get(key)
        if resident is None or resident.order is not order:
            self._load(key, order)

    def reorder(self, key: Key, order: Order) -> None:
        """The same weights under another order, such as one more adapter beside them."""
        if resident := self._residents.get(key):
            resident.order = order

    def retire(self, key: Key) -> None:
        """Forget a model; whoever uses it finishes first."""
        self._failures.pop(key, None)
        if loading := self._loading.pop(key, None):
            loading.order.abandoned.set()
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if resident := self._residents.pop(key, None):
            resident.is_retired = True
            if not resident.in_use:
                self._let_go(resident)

    def of(self, workspace_id: str, name: str) -> list[Key]:
        """The keys of a model that are loaded, loading or failed: with each of its merged adapters."""
        known = {*self._residents, *self._loading, *self._failures}
        return [key for key in known if key[:2] == (workspace_id, name)]

    async def close(self) -> None:
        """Let everything go, without waiting for those who use it."""
        for loading in self._loading.values():
            loading.order.abandoned.set()
        await asyncio.gather(*(loading.task for loading in self._loading.values()), return_exceptions=True)
        for key in list(self._residents):
            resident = self._residents[key]
            self.retire(key)
            if resident.in_use:
                self._let_go(resident)
        while self._closing:
            await asyncio.wait(self._closing)

    async def _renewed(self, key: Key, order: Order, former: Resident | None) -> Resident:
        failure = self._failures.get(key)
        failed = failure is not None and failure.order is order and time.monotonic() < failure.until
        if former is not None:
            if not failed:
                self._load(key, order)
            return former
        if failed and failure is not None:
            raise failure.error
        resident = await asyncio.shield(self._load(key, order))  # one caller leaving must not fail the others
        if resident.is_retired:
            raise ModelUnloaded(f"The model {key.name!r} was unloaded or replaced meanwhile.", hint="Try again.")
        return resident

    def _load(self, key: Key, order: Order) -> "asyncio.Task[Resident]":
        loading = self._loading.get(key)
        if loading is not None and loading.order is order:
            return loading.task
        if loading is not None:
            loading.order.abandoned.set()
        task = asyncio.create_task(self._resident(key, order))
        self._loading[key] = _Loading(order, task)
        task.add_done_callback(lambda task: self._arrived(key, order, task))
        self._changed()
        return task

    async def _resident(self, key: Key, order: Order) -> Resident:
        return Resident(order, await in_thread(order.load, what=f"The model {key.name!r}"))

    def _arrived(self, key: Key, order: Order, task: "asyncio.Task[Resident]") -> None:
        loading = self._loading.get(key)
        is_wanted = loading is not None and loading.task is task
        error = None if task.cancelled() else task.exception()
        if not task.cancelled() and error is None:
            resident = task.result()
            if is_wanted:
                self._loading.pop(key)
                self.retire(key)  # the former weights
                self._residents[key] = resident
                self._wait(key, order.idle_s)
            else:
                resident.is_retired = True
                self._let_go(resident)
        if is_wanted:
            self._loading.pop(key, None)
            if isinstance(error, InhouseError):
                self._failures[key] = _Failure(order, error, time.monotonic() + _RETRY_S)
            self._changed()

    def _wait(self, key: Key, seconds: float) -> None:
        if seconds:
            self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._look, key)

    def _look(self, key: Key) -> None:
        resident = self._residents[key]
        idle_s = resident.order.idle_s
        rest_s = resident.used_at + idle_s - time.monotonic()
        if resident.in_use or rest_s > 0:
            self._wait(key, max(rest_s, min(idle_s, 1.0)))
        else:
            self.retire(key)
            self._changed()

    def _let_go(self, resident: Resident) -> None:
        task = asyncio.create_task(_closed(resident))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def in_thread(work: Callable[[], Done], *, what: str) -> Done:
    """Let an engine work on files from elsewhere, which can fail it in any way."""
    try:
        return await asyncio.to_thread(work)
    except InhouseError:
        raise
    except Exception as error:
        _log.warning("%s cannot be loaded", what, exc_info=True)
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ModelBroken(f"{what} cannot be loaded: {reason[0][:300]}", hint="The server's log says more.") from error


async def _closed(resident: Resident) -> None:
    try:
        await resident.loaded.close()
    except Exception:  # the model is gone from our books in any case
        _log.exception("A model did not let go of everything")
