"""The models in memory: loaded on first call, warm, unloaded when idle, all on one bounded thread pool."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

from inhouse.serving import metrics, runtime
from inhouse.serving.artifact import Manifest
from inhouse.serving.batcher import Batcher
from inhouse.serving.inputs import Input, inputs_of
from inhouse.serving.runtime import Model, Output


class ModelSource(Protocol):
    """Where model versions come from."""

    def resolve(self, workspace_id: str, name: str, version: int) -> Path:
        """Return the version's verified directory, fetching it first if need be."""
        ...


class Key(NamedTuple):
    """One version of one model."""

    workspace_id: str
    name: str
    version: int


class Served:
    """A loaded model and the batcher in front of it."""

    def __init__(self, model: Model, batcher: Batcher[Input, Output]) -> None:
        self.manifest: Manifest = model.manifest
        self.used_at = time.monotonic()
        self._batcher = batcher

    @property
    def is_idle(self) -> bool:
        return self._batcher.is_idle

    async def predict(self, inputs: Sequence[Input]) -> list[Output]:
        self.used_at = time.monotonic()
        return await self._batcher.submit(inputs)

    async def drain(self) -> None:
        await self._batcher.drain()


class Pool:
    """Keeps models loaded, several versions side by side.

    Above `memory_bytes`, models that nobody is using make room for the next, the longest unused first; after
    `idle_s` they go anyway. Whoever already holds an unloaded model finishes on it: nothing is dropped.
    """

    def __init__(
        self,
        source: ModelSource,
        *,
        threads: int = 1,
        memory_bytes: int = 2 << 30,
        idle_s: float = 1800.0,
        max_batch_tokens: int = 4096,
        max_queue: int = 1024,
    ) -> None:
        self._source = source
        self._threads = threads
        self._memory_bytes = memory_bytes
        self._idle_s = idle_s
        self._max_batch_tokens = max_batch_tokens
        self._max_queue = max_queue
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="inhouse-inference")
        self._turns = asyncio.Semaphore(threads)
        self._served: dict[Key, Served] = {}
        self._loading: dict[Key, asyncio.Task[Served]] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    @property
    def loaded(self) -> list[Key]:
        return list(self._served)

    async def get(self, key: Key) -> Served:
        """Return the model, loading it off the event loop if this is its first call."""
        served = self._served.get(key)
        if served is not None:
            return served
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.create_task(self._load(key))
            loading.add_done_callback(lambda task: self._loaded(key, task))
        return await asyncio.shield(loading)  # one caller leaving must not fail the others

    def unload(self, key: Key) -> None:
        """Forget a model; calls that already run on it finish."""
        self._served.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()
        metrics.LOADED.set(len(self._served))

    async def close(self) -> None:
        """Finish what is queued and let everything go."""
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        await asyncio.gather(*(served.drain() for served in self._served.values()))
        for key in self.loaded:
            self.unload(key)
        self._executor.shutdown()

    async def _load(self, key: Key) -> Served:
        with metrics.LOAD_SECONDS.time():
            model = await asyncio.to_thread(self._open, key)
        batcher = Batcher(
            model.predict,
            executor=self._executor,
            turns=self._turns,
            length=inputs_of(model.manifest).measure,
            parallel=self._threads,
            max_tokens=self._max_batch_tokens,
            max_queue=self._max_queue,
        )
        return Served(model, batcher)

    def _open(self, key: Key) -> Model:
        return runtime.load(self._source.resolve(*key))

    def _loaded(self, key: Key, task: "asyncio.Task[Served]") -> None:
        self._loading.pop(key, None)
        if task.cancelled() or task.exception() is not None:
            return
        served = task.result()
        self._make_room(served.manifest.size_bytes)
        self._served[key] = served
        self._timers[key] = asyncio.get_running_loop().call_later(self._idle_s, self._retire, key)
        metrics.LOADED.set(len(self._served))

    def _make_room(self, needed: int) -> None:
        excess = sum(served.manifest.size_bytes for served in self._served.values()) + needed - self._memory_bytes
        idle = [key for key, served in self._served.items() if served.is_idle]
        for key in sorted(idle, key=lambda key: self._served[key].used_at):
            if excess <= 0:
                return
            excess -= self._served[key].manifest.size_bytes
            self.unload(key)

    def _retire(self, key: Key) -> None:
        served = self._served[key]
        rest_s = served.used_at + self._idle_s - time.monotonic()
        if served.is_idle and rest_s <= 0:
            self.unload(key)
            return
        later_s = max(rest_s, 1.0)
        self._timers[key] = asyncio.get_running_loop().call_later(later_s, self._retire, key)
