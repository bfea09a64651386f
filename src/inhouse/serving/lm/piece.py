"""What local models of each kind can do, whatever runs them. The gateway renders it as OpenAI's wire format."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from inhouse.core.errors import Invalid

if TYPE_CHECKING:
    import numpy as np


class ContextLengthExceeded(Invalid):
    """The prompt, with the answer it asks for, is longer than the model can read."""

    def __init__(self, tokens: int, limit: int, *, param: str = "messages") -> None:
        super().__init__(
            f"The request has {tokens} tokens, the model reads at most {limit}.",
            hint="Shorten the messages or ask for a shorter answer.",
            code="context_length_exceeded",
            param=param,
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """What a language model says next."""

    index: int = 0
    """Which of the `n` choices."""
    text: str = ""
    reasoning: str = ""
    """Text inside <think>…</think>."""
    logprobs: Sequence[Mapping[str, Any]] | None = None
    """Items {token, logprob, bytes, top_logprobs}, as in OpenAI's `content`."""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    """Delta items {index, id, type, function: {name, arguments}}."""
    finish_reason: str | None = None
    """`stop`, `length` or `tool_calls` on the last piece of a choice."""
    usage: tuple[int, int] | None = None
    """(prompt_tokens, completion_tokens) of the whole request, on the last piece of all."""


@runtime_checkable
class LanguageModel(Protocol):
    """Writes text. `generate` takes an OpenAI request body as plain data; closing it frees its slot at once."""

    @property
    def name(self) -> str: ...
    @property
    def context_length(self) -> int: ...

    def generate(self, request: Mapping[str, Any]) -> AsyncGenerator[Piece]: ...

    def count(self, texts: Sequence[str]) -> int:
        """Tokens of the texts together."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Turns texts, or texts given as token ids, into vectors."""

    @property
    def name(self) -> str: ...

    async def embed(
        self, texts: Sequence[str] | Sequence[Sequence[int]], *, dimensions: int | None = None
    ) -> "tuple[np.ndarray, int]":
        """One float32 row of length one for each text, and how many tokens were read."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Says how well documents answer a query."""

    @property
    def name(self) -> str: ...

    async def rank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        """Each document's relevance between 0 and 1, in the order given, and how many tokens were read."""
        ...
