"""All that a node may touch of the world around it."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from inhouse.core.principal import Principal
from inhouse.workflow.templates import Template
from inhouse.workflow.variables import Variables


class Prediction(Protocol):
    """What a served classifier says of one text."""

    @property
    def label(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def scores(self) -> Mapping[str, float]: ...
    @property
    def known(self) -> bool: ...
    @property
    def model(self) -> str: ...
    @property
    def version(self) -> int: ...


class Predictor(Protocol):
    """The served models. Requests with the same key meet the same version."""

    def choose(self, principal: Principal, model: str, key: str) -> int: ...

    async def predict(
        self, principal: Principal, model: str, texts: Sequence[str], *, version: int | None = None
    ) -> Sequence[Prediction]: ...


class Passage(Protocol):
    """A piece of a document that was found."""

    @property
    def chunk_id(self) -> str: ...
    @property
    def document_id(self) -> str: ...
    @property
    def document(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def page(self) -> int | None: ...
    @property
    def heading(self) -> Sequence[str]: ...
    @property
    def text(self) -> str: ...
    @property
    def score(self) -> float: ...


class Found(Protocol):
    """The passages for a query, and how much of the query the best of them covers."""

    @property
    def passages(self) -> Sequence[Passage]: ...
    @property
    def coverage(self) -> float: ...
    @property
    def answerable(self) -> bool: ...


class Retriever(Protocol):
    """The knowledge bases."""

    async def search(self, principal: Principal, query: str, bases: Sequence[str], top_k: int = 4) -> Found: ...


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a language model is asked."""

    model: str
    messages: list[dict[str, object]]
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    user: str = ""
    extra: Mapping[str, object] = field(default_factory=dict)


class ChatDelta(Protocol):
    """A piece of a language model's answer."""

    @property
    def text(self) -> str: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def usage(self) -> Mapping[str, int] | None: ...
    @property
    def model(self) -> str: ...


class ChatModel(Protocol):
    """The language models behind the gateway."""

    def stream(self, principal: Principal, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]: ...


@dataclass(frozen=True, slots=True)
class Services:
    """The rooms that nodes work with, joined by the server."""

    predictor: Predictor
    retriever: Retriever
    chat: ChatModel


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What a run starts from. `history` holds earlier messages, `{"role", "content"}`, oldest first."""

    query: str = ""
    inputs: Mapping[str, object] = field(default_factory=dict)
    user_id: str = ""
    conversation_id: str = ""
    app_id: str = ""
    files: Sequence[Mapping[str, object]] = ()
    history: Sequence[Mapping[str, str]] = ()


@dataclass(slots=True)
class Context:
    """One attempt at one step."""

    principal: Principal
    inputs: RunInputs
    services: Services
    variables: Variables
    say: Callable[[str, str], None]
    """Stream a piece of the output of that name."""
    note_model: Callable[[str, int | str], None]
    """Remember which version of a model is asked, before it can fail."""

    @property
    def traffic_key(self) -> str:
        """Keeps a conversation, or else a user, with one version of a model."""
        return self.inputs.conversation_id or self.inputs.user_id or self.principal.user_id

    def read(self, selector: Sequence[str]) -> object:
        """The value of an earlier step; it must be there."""
        return self.variables.read(selector)

    def render(self, template: Template) -> str:
        return template.render(self.variables.find)
