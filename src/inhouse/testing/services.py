"""Stand-ins for the rooms that workflow nodes work with."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field

from inhouse.core.errors import NotFound
from inhouse.core.principal import Principal
from inhouse.workflow.context import ChatRequest, Services


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a scripted answer."""

    text: str
    model: str
    finish_reason: str | None = None
    usage: Mapping[str, int] | None = None


class ScriptedChatModel:
    """Answers from a script, one entry a request: pieces of text, or an error in their place or among them.

    The last entry repeats. With a gate, each piece waits for its own `gate.release()`.
    """

    def __init__(
        self, *script: Sequence[str | Exception], name: str = "scripted", gate: asyncio.Semaphore | None = None
    ) -> None:
        self.requests: list[ChatRequest] = []
        self.cancelled = 0
        self._script = script or (("mocked llm response",),)
        self._name = name
        self._gate = gate

    async def stream(self, principal: Principal, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        entry = self._script[min(len(self.requests), len(self._script) - 1)]
        self.requests.append(request)
        try:
            for piece in entry:
                if self._gate is not None:
                    await self._gate.acquire()
                if isinstance(piece, Exception):
                    raise piece
                yield Delta(piece, self._name)
            usage = {"prompt_tokens": 1, "completion_tokens": len(entry), "total_tokens": 1 + len(entry)}
            yield Delta("", self._name, "stop", usage)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise


@dataclass(frozen=True, slots=True)
class FixedPrediction:
    """What `FixedPredictor` says of a text."""

    label: str
    score: float
    scores: Mapping[str, float]
    known: bool
    model: str
    version: int


class FixedPredictor:
    """Labels texts from a table; a text that is not in it gets the first label, unknown. With an error, it fails."""

    def __init__(self, labels: Mapping[str, str], *, version: int = 1, error: Exception | None = None) -> None:
        self._labels = labels
        self._version = version
        self._error = error

    def choose(self, principal: Principal, model: str, key: str) -> int:
        return self._version

    async def predict(
        self, principal: Principal, model: str, texts: Sequence[str], *, version: int | None = None
    ) -> list[FixedPrediction]:
        if self._error is not None:
            raise self._error
        return [self._predict(model, text, version or self._version) for text in texts]

    def _predict(self, model: str, text: str, version: int) -> FixedPrediction:
        known = text in self._labels
        label = self._labels[text] if known else next(iter(self._labels.values()), "none")
        score = 0.9 if known else 0.1
        return FixedPrediction(label, score, {label: score}, known, model, version)


@dataclass(frozen=True, slots=True)
class FixedPassage:
    """A passage of `FixedRetriever`."""

    document: str
    text: str
    page: int | None = None
    title: str = ""
    heading: tuple[str, ...] = ()
    chunk_id: str = "chunk_1"
    document_id: str = "doc_1"
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class FixedResult:
    """What `FixedRetriever` finds."""

    passages: list[FixedPassage] = field(default_factory=list)
    coverage: float = 0.0
    answerable: bool = False


class FixedRetriever:
    """Finds the passages whose words the query holds. Coverage is the share of the query's words that the best has."""

    def __init__(self, bases: Mapping[str, Sequence[FixedPassage]], *, threshold: float = 0.2) -> None:
        self.queries: list[str] = []
        self._bases = bases
        self._threshold = threshold

    async def search(self, principal: Principal, query: str, bases: Sequence[str], top_k: int = 4) -> FixedResult:
        self.queries.append(query)
        missing = next((base for base in bases if base not in self._bases), None)
        if missing is not None:
            raise NotFound(f"There is no knowledge base named {missing!r}.", hint=f"Known: {', '.join(self._bases)}")
        words = query.lower().split()
        shares = {
            passage: sum(word in passage.text.lower() for word in words) / max(len(words), 1)
            for base in bases
            for passage in self._bases[base]
        }
        best = sorted((passage for passage, share in shares.items() if share), key=lambda one: -shares[one])[:top_k]
        coverage = max(shares.values(), default=0.0)
        return FixedResult(best, coverage, coverage >= self._threshold)


def fixed_services(
    *,
    chat: ScriptedChatModel | None = None,
    predictor: FixedPredictor | None = None,
    retriever: FixedRetriever | None = None,
) -> Services:
    """All services, those given and plain ones for the rest."""
    return Services(
        predictor=predictor or FixedPredictor({}),
        retriever=retriever or FixedRetriever({}),
        chat=chat or ScriptedChatModel(),
    )
