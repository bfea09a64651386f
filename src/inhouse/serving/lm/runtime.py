"""What runs language models, encoders and rerankers. One runtime, one file in `runtimes/`."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from inhouse.core.errors import Invalid, Misconfigured
from inhouse.core.registry import Registry
from inhouse.serving.lm.checkpoint import Adapter, Checkpoint, Kind
from inhouse.serving.lm.piece import Encoder, LanguageModel, Reranker

Local = LanguageModel | Encoder | Reranker
PREFERRED = ("vllm", "openvino", "transformers")
"""The fastest first: what `auto` takes, where it is installed and fits."""


class RuntimeMissing(Misconfigured):
    """The runtime's packages are not installed, or the machine has not what it needs."""


class UnsuitableRuntime(Invalid):
    """The runtime cannot run this model."""


@dataclass(frozen=True, slots=True)
class Server:
    """A model in a server of its own: whoever opens it asks there, in OpenAI's API."""

    url: str
    """Base URL, with `/v1`."""
    key: str = field(repr=False)
    """Bearer token."""
    model: str
    """What the model is called there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A model to load, and how."""

    name: str
    """What requests call it: `base`, or `base:adapter` where the adapter becomes part of the weights."""
    checkpoint: Checkpoint
    kind: Kind
    dtype: str = "auto"
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    """Adapters to have at hand beside the base."""
    merged: Adapter | None = None
    """The adapter that becomes part of the weights."""
    max_batch: int = 16
    kv_tokens: int = 16384
    cache: Path = Path("cache")
    """Directory for files made from the checkpoint; they can be made again."""
    changed: Callable[[], None] = lambda: None
    """Called from any thread when the state of the loaded model changes."""
    abandoned: threading.Event = field(default_factory=threading.Event, compare=False)
    """Set when nobody wants it any more: what takes minutes to load looks at it."""


class Loaded(Protocol):
    """A model in memory, or in a server of its own."""

    @property
    def state(self) -> str:
        """`loaded`, `restarting` or `failed`."""
        ...

    @property
    def error(self) -> str: ...

    def model(self, adapter: str = "") -> Local | Server:
        """What answers. Any thread."""
        ...

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        """Have another adapter at hand, or a new version of one. Blocks; any thread."""
        ...

    def remove_adapter(self, name: str) -> None: ...

    async def close(self) -> None:
        """Let everything go. Nothing runs on it any more, except in a server, which finishes what it has."""
        ...


class LanguageRuntime(Protocol):
    """Loads models of the kinds and architectures that it knows."""

    @property
    def merges_adapters(self) -> bool:
        """Whether an adapter becomes part of the weights, so that each is a model of its own."""
        ...

    @property
    def is_server(self) -> bool:
        """Whether models run in servers of their own, which start with this one."""
        ...

    def missing(self) -> str:
        """What to do before it can be used, such as a pip command; empty when it can be."""
        ...

    def serves(self, checkpoint: Checkpoint, kind: Kind) -> bool: ...

    def load(self, plan: Plan) -> Loaded:
        """Load and warm a model. Blocks, maybe for minutes."""
        ...


language_runtimes: Registry[LanguageRuntime] = Registry("language_runtime", package="inhouse.serving.lm.runtimes")


def choose(asked: str, checkpoint: Checkpoint, kind: Kind, known: Registry[LanguageRuntime]) -> str:
    """The name of the runtime that loads a model: the one asked for, or the fastest that can."""
    if asked == "auto":
        ranked = [*PREFERRED, *(name for name in known if name not in PREFERRED)]
        fit = (name for name in ranked if name in known and not known[name].missing())
        found = next((name for name in fit if known[name].serves(checkpoint, kind)), "")
        if not found:
            raise UnsuitableRuntime(
                f"No installed runtime serves {checkpoint.architecture or checkpoint.model_type!r} as {kind} model.",
                hint="Known: " + ", ".join(known),
                param="runtime",
            )
        return found
    if asked not in known:
        raise UnsuitableRuntime(
            f"There is no runtime named {asked!r}.", hint="Known: auto, " + ", ".join(known), param="runtime"
        )
    if missing := known[asked].missing():
        raise RuntimeMissing(f"The runtime {asked!r} cannot be used here.", hint=missing)
    if not known[asked].serves(checkpoint, kind):
        raise UnsuitableRuntime(
            f"The runtime {asked!r} does not serve {checkpoint.architecture or checkpoint.model_type!r} as {kind} "
            "model.",
            hint="Choose the runtime auto.",
            param="runtime",
        )
    return asked
