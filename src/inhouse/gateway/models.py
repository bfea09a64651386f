"""What language models are asked and say, where it is not bytes on the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from inhouse.gateway.tokens import estimate

Message = Mapping[str, Any]
PER_MESSAGE = 4
"""Tokens for the role of a message and what stands between two."""


class ChatRequest(Protocol):
    """What a workflow asks. `extra` carries parameters that only some models know."""

    @property
    def model(self) -> str: ...
    @property
    def messages(self) -> Sequence[Message]: ...
    @property
    def temperature(self) -> float | None: ...
    @property
    def max_tokens(self) -> int | None: ...
    @property
    def stop(self) -> Sequence[str] | None: ...
    @property
    def user(self) -> str: ...
    @property
    def extra(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class ChatDelta:
    """A piece of an answer. `extra` carries other fields of the piece, such as `tool_calls`."""

    text: str = ""
    finish_reason: str | None = None
    usage: Mapping[str, int] | None = None
    model: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """What a language model says next, in the shape of `local.Piece`."""

    text: str = ""
    finish_reason: str | None = None
    usage: tuple[int, int] | None = None
    index: int = 0
    reasoning: str = ""
    logprobs: Sequence[Mapping[str, Any]] | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()


def text_of(message: Message) -> str:
    """The words of a message, whether its content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping))


def estimated_usage(messages: Sequence[Message], answer: str) -> tuple[int, int]:
    """Tokens read and written, for models that don't count: about what a tokenizer would say."""
    return sum(estimate(text_of(message)) + PER_MESSAGE for message in messages), estimate(answer)
