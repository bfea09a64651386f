"""A runtime for tests: its models repeat what they are asked, and stop when told to."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inhouse.core.registry import Registry
from inhouse.serving.lm.checkpoint import Adapter, Checkpoint, Kind
from inhouse.serving.lm.piece import Piece
from inhouse.serving.lm.runtime import LanguageRuntime, Plan, Server


class Parrot:
    """Says its own name and what it is asked, word by word; with a gate, each word waits for a permit."""

    context_length = 64

    def __init__(self, name: str, gate: asyncio.Semaphore | None) -> None:
        self.name = name
        self._gate = gate

    async def generate(self, request: Mapping[str, Any]) -> AsyncGenerator[Piece]:
        for word in (self.name, *str(request["prompt"]).split()):
            if self._gate is not None:
                await self._gate.acquire()
            yield Piece(text=word)
        yield Piece(finish_reason="stop", usage=(1, 2))

    def count(self, texts: Sequence[str]) -> int:
        return sum(len(text.split()) for text in texts)


class Perch:
    """A loaded parrot."""

    def __init__(self, runtime: "Parrots", plan: Plan) -> None:
        self.state, self.error, self.closed = "loaded", "", False
        self.adapters = dict(plan.adapters)
        self._runtime = runtime
        self._plan = plan

    def model(self, adapter: str = "") -> Any:
        if self._runtime.is_server:
            return Server("http://127.0.0.1:1/v1", "secret", self._plan.name)
        told = (self._plan.checkpoint.directory / "config.json").read_text()
        name = self._plan.name if not adapter else f"{self._plan.name}+{adapter}:{self.adapters[adapter].version}"
        return Parrot(f"{name}/{json.loads(told)['says']}", self._runtime.gate)

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        if "broken" in adapter.config:
            raise ValueError("it does not fit")
        self.adapters[name] = adapter

    def remove_adapter(self, name: str) -> None:
        self.adapters.pop(name, None)

    async def close(self) -> None:
        self.closed = True
        self._runtime.closed.append(self._plan.name)


class Parrots:
    """The runtime; remembers what it loaded and what was let go."""

    def __init__(self, *, merges_adapters: bool = False, is_server: bool = False, missing: str = "") -> None:
        self.merges_adapters, self.is_server = merges_adapters, is_server
        self.loaded: list[str] = []
        self.closed: list[str] = []
        self.gate: asyncio.Semaphore | None = None
        self.asked = threading.Event()
        self.may_load = threading.Event()
        self.may_load.set()
        self.error: Exception | None = None
        self._missing = missing

    def missing(self) -> str:
        return self._missing

    def serves(self, checkpoint: Checkpoint, kind: Kind) -> bool:
        return checkpoint.architecture == "ParrotForCausalLM"

    def load(self, plan: Plan) -> Perch:
        self.loaded.append(plan.name)
        self.asked.set()
        assert self.may_load.wait(10)
        if self.error is not None:
            raise self.error
        return Perch(self, plan)


def registry(**runtimes: LanguageRuntime) -> Registry[LanguageRuntime]:
    known: Registry[LanguageRuntime] = Registry("language_runtime", package="inhouse.serving.lm.runtimes")
    for name, runtime in runtimes.items():
        known.add(name, runtime)
    return known


def parrot_directory(directory: Path, says: str = "hello", **config: Any) -> Path:
    """A model directory for parrots."""
    directory.mkdir(parents=True, exist_ok=True)
    described = {"architectures": ["ParrotForCausalLM"], "model_type": "parrot", "says": says, **config}
    (directory / "config.json").write_text(json.dumps(described))
    (directory / "model.safetensors").write_bytes(b"weights")
    return directory


def adapter_directory(directory: Path, content: bytes = b"lora", **config: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **config}))
    (directory / "adapter_model.safetensors").write_bytes(content)
    return directory
