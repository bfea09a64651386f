"""What callers hold of a model: it stays good while the model behind it is unloaded, reloaded or replaced."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inhouse.core.errors import Unavailable
from inhouse.serving.lm.checkpoint import Kind
from inhouse.serving.lm.piece import Encoder, LanguageModel, Piece, Reranker
from inhouse.serving.lm.residents import Key, Order, Residents
from inhouse.serving.lm.runtime import Local

if TYPE_CHECKING:
    import numpy as np


class ModelNotLoaded(Unavailable):
    """The model is not in memory at the moment."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a handle finds its model each time."""

    residents: Residents
    find: Callable[[], Awaitable[tuple[Key, Order]]]
    key: Key
    adapter: str = ""
    """The adapter to ask for beside the weights."""

    @asynccontextmanager
    async def using(self) -> AsyncIterator[Any]:
        key, order = await self.find()
        async with self.residents.using(key, order) as resident:
            yield resident.loaded.model(self.adapter)

    def now(self) -> Any:
        """The model, where it is in memory at this moment."""
        resident = self.residents.get(self.key)
        return resident.loaded.model(self.adapter) if resident else None


class Talker:
    """A language model by name."""

    def __init__(self, name: str, model: LanguageModel, slot: Slot) -> None:
        self.name = name
        self.context_length = model.context_length
        self._slot = slot

    async def generate(self, request: Mapping[str, Any]) -> AsyncGenerator[Piece]:
        async with self._slot.using() as model, aclosing(model.generate(request)) as pieces:
            async for piece in pieces:
                yield piece

    def count(self, texts: Sequence[str]) -> int:
        model = self._slot.now()
        if model is None:
            raise ModelNotLoaded(f"The model {self.name!r} is not in memory.", hint="Ask it something first.")
        return model.count(texts)


class Embedder:
    """An encoder by name."""

    def __init__(self, name: str, slot: Slot) -> None:
        self.name = name
        self._slot = slot

    async def embed(
        self, texts: Sequence[str] | Sequence[Sequence[int]], *, dimensions: int | None = None
    ) -> "tuple[np.ndarray, int]":
        async with self._slot.using() as encoder:
            return await encoder.embed(texts, dimensions=dimensions)


class Ranker:
    """A reranker by name."""

    def __init__(self, name: str, slot: Slot) -> None:
        self.name = name
        self._slot = slot

    async def rank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        async with self._slot.using() as reranker:
            return await reranker.rank(query, documents)


def handle(kind: Kind, name: str, model: Any, slot: Slot) -> Local:
    """What a caller gets for a model of some kind."""
    if kind is Kind.EMBEDDING:
        embedder: Encoder = Embedder(name, slot)
        return embedder
    if kind is Kind.RERANK:
        ranker: Reranker = Ranker(name, slot)
        return ranker
    return Talker(name, model, slot)
