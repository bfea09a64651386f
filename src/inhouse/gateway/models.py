"""What a chat model is here: something that streams an answer to messages."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from inhouse.gateway.tokens import estimate

Message = Mapping[str, Any]
_PER_MESSAGE = 4  # role and separators


class ChatRequest(Protocol):
    """What a model is asked. `extra` carries parameters that only some models know."""

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


class ChatModel(Protocol):
    """A language model, or what stands in for one."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta]: ...


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A chat model under the name that clients ask for."""

    id: str
    owner: str
    created_at: float
    model: ChatModel


def text_of(message: Message) -> str:
    """The words of a message, whether its content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping))


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def estimated_usage(messages: Sequence[Message], answer: str) -> dict[str, int]:
    """For models that don't count: about what a tokenizer would say."""
    prompt = sum(estimate(text_of(message)) + _PER_MESSAGE for message in messages)
    return usage(prompt, estimate(answer))
