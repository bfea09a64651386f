"""What a language model says, piece by piece, and what one looks like from outside."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from inhouse.core.errors import Invalid


class ContextLengthExceeded(Invalid):
    """The request has more tokens than the model can read."""


class BadRequest(Invalid):
    """A member of the request does not mean anything to this model; `param` in the details names it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What a language model says next."""

    index: int = 0
    """Which of the `n` choices it belongs to."""
    text: str = ""
    reasoning: str = ""
    """Text that the model thought, not said: what stood inside `<think>…</think>`."""
    logprobs: Sequence[Mapping[str, Any]] | None = None
    """OpenAI's `content` items: token, logprob, bytes, top_logprobs."""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    """OpenAI's delta items: index, id, type, function."""
    finish_reason: str | None = None
    """`stop`, `length` or `tool_calls` on the choice's last piece."""
    usage: tuple[int, int] | None = None
    """Tokens read and written, for the whole request, on its last piece."""


class LanguageModel(Protocol):
    """Something that continues a conversation or a text."""

    name: str
    context_length: int

    def generate(self, request: Mapping[str, Any]) -> AsyncGenerator[Piece, None]:
        """Answer a request of OpenAI's shape. Closing the generator gives the work up at once."""
        ...

    def count(self, texts: Sequence[str]) -> int:
        """How many tokens the texts have."""
        ...


class Encoder(Protocol):
    """Something that turns texts into vectors."""

    async def embed(
        self, texts: Sequence[str] | Sequence[Sequence[int]], *, dimensions: int | None
    ) -> tuple[np.ndarray, int]:
        """Return one unit row of float32 for each text, and how many tokens were read."""
        ...


class Reranker(Protocol):
    """Something that says how well documents answer a query."""

    async def rank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        """Return one score for each document, and how many tokens were read."""
        ...
