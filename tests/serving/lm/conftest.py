"""One tiny language model for all tests, and a way to talk to it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from inhouse.serving.lm.checkpoint import Kind, open_adapter, open_checkpoint
from inhouse.serving.lm.piece import Piece
from inhouse.serving.lm.runtime import Plan
from inhouse.serving.lm.runtimes.transformers import TransformersLoaded, TransformersModel, TransformersRuntime
from inhouse.testing.language import tiny_adapter, tiny_language_model

Load = Callable[..., TransformersLoaded]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random chat model."""
    return tiny_language_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def adapter(tiny: Path) -> Path:
    return tiny_adapter(tiny.parent / "adapter", tiny)


@pytest.fixture
async def load(tiny: Path) -> AsyncIterator[Load]:
    """Loads a model directory, by default the tiny one, and lets it go at the end."""
    loaded: list[TransformersLoaded] = []

    def load(directory: Path = tiny, *, adapters: dict[str, Path] | None = None, **settings: Any) -> TransformersLoaded:
        opened = {name: open_adapter(path) for name, path in (adapters or {}).items()}
        plan = Plan("tiny", open_checkpoint(directory), Kind.CHAT, adapters=opened, **settings)
        loaded.append(TransformersRuntime().load(plan))
        return loaded[-1]

    yield load
    for one in loaded:
        await one.close()


async def pieces(model: TransformersModel, **request: Any) -> list[Piece]:
    """All that the model says to a request; greedy unless it says otherwise."""
    return [piece async for piece in model.generate({"temperature": 0, **request})]


async def say(model: TransformersModel, content: str = "How many days?", **request: Any) -> str:
    """The text of the answer to one question."""
    messages = [{"role": "user", "content": content}]
    return "".join(piece.text for piece in await pieces(model, messages=messages, **request))
