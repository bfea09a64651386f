"""Which models this server is to run: what somebody asked for, and what became of it on this machine."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from inhouse.core.errors import InhouseError
from inhouse.core.registry import Registry
from inhouse.core.settings import LocalModel
from inhouse.serving.lm.checkpoint import Adapter, Checkpoint, Kind, open_adapter, open_checkpoint
from inhouse.serving.lm.residents import Order
from inhouse.serving.lm.runtime import LanguageRuntime, Plan, choose


@dataclass(frozen=True, slots=True)
class Ground:
    """What every model of a server shares."""

    runtimes: Registry[LanguageRuntime]
    cache: Path
    changed: Callable[[], None]
    locate: Callable[[str, str], Path] = lambda _workspace_id, path: Path(path)
    """The directory that a path means to a workspace: a version of a registered model has one, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A model that is to answer under a name. With a `problem` it cannot, and the rest says nothing."""

    workspace_id: str
    name: str
    model: LocalModel
    created_at: float
    is_configured: bool = False
    """Whether it comes from the settings: changed there only."""
    checkpoint: Checkpoint | None = None
    kind: Kind = Kind.CHAT
    runtime: str = ""
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    problem: InhouseError | None = None
    orders: dict[str, Order] = field(default_factory=dict)
    """How to load it, by merged adapter: one object for as long as the weights are the same."""

    def order(self, ground: Ground, adapter: str = "") -> Order:
        if adapter not in self.orders:
            self.orders[adapter] = self._order(ground, adapter)
        return self.orders[adapter]

    def version(self, adapter: str = "") -> str:
        """Changes with the files of the model, and of the adapter."""
        base = self.checkpoint.version if self.checkpoint else ""
        return f"{base}-{self.adapters[adapter].version}" if adapter in self.adapters else base

    def _order(self, ground: Ground, adapter: str) -> Order:
        assert self.checkpoint is not None, "A model with a problem is not loaded."
        runtime = ground.runtimes[self.runtime]
        abandoned = threading.Event()
        plan = Plan(
            name=f"{self.name}:{adapter}" if adapter else self.name,
            checkpoint=self.checkpoint,
            kind=self.kind,
            dtype=self.model.dtype,
            adapters={} if runtime.merges_adapters else self.adapters,
            merged=self.adapters.get(adapter),
            max_batch=self.model.max_batch,
            kv_tokens=self.model.kv_tokens,
            cache=ground.cache,
            changed=ground.changed,
            abandoned=abandoned,
        )
        idle_s = 0.0 if runtime.is_server else self.model.idle_s
        return Order(lambda: runtime.load(plan), idle_s=idle_s, version=self.version(adapter), abandoned=abandoned)


def examine(wanted: Wanted, ground: Ground) -> Wanted:
    """Look at the directories of a model and choose its runtime, or raise what is wrong with them."""
    model = wanted.model
    checkpoint = open_checkpoint(ground.locate(wanted.workspace_id, model.path))
    kind = checkpoint.kind(model.kind)
    runtime = choose(model.runtime, checkpoint, kind, ground.runtimes)
    adapters = {
        name: open_adapter(ground.locate(wanted.workspace_id, path), checkpoint)
        for name, path in model.adapters.items()
    }
    return replace(
        wanted, checkpoint=checkpoint, kind=kind, runtime=runtime, adapters=adapters, problem=None, orders={}
    )


def examined(wanted: Wanted, ground: Ground) -> Wanted:
    """The same, but a problem is kept to be shown: one model that is gone must not keep the others away."""
    try:
        return examine(wanted, ground)
    except InhouseError as error:
        return replace(wanted, problem=error)
