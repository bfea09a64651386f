"""Answer a question from memory when nearly the same one has been asked before."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
from pydantic import Field

from inhouse.core.errors import InhouseError
from inhouse.gateway.call import Call, Endpoint, Reply
from inhouse.gateway.policy import Policy, Proceed, Settings, Surroundings, policy
from inhouse.gateway.recording import Answer, record, replay
from inhouse.gateway.sameness import digest

_FIRST_ROWS = 16
Vector = np.ndarray[Any, np.dtype[np.float32]]


class SemanticCacheSettings(Settings):
    enabled: bool = Field(default=False, description="Whether answers to similar questions are given again.")
    model: str = Field(default="", max_length=200, description="The embedding model that compares questions.")
    threshold: float = Field(default=0.95, ge=0.5, le=1, description="The least cosine similarity of two questions.")
    ttl_s: float = Field(default=3600, ge=1, le=30 * 86400, description="Seconds until an answer is forgotten.")
    max_entries: int = Field(default=5000, ge=1, le=100_000, description="How many answers are kept.")
    max_answer_bytes: int = Field(default=64 << 10, ge=1 << 10, le=1 << 24, description="Longer answers are not kept.")
    share: Literal["key", "workspace"] = Field(default="key", description="Who gets answers that others asked for.")


@dataclass(slots=True, eq=False)
class _Shelf:
    """Questions that agree in all but the last thing that the user said: one row each."""

    rows: Vector
    entries: list["_Entry"] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Entry:
    place: bytes
    row: int
    expires: float
    answer: Answer


@policy("semantic-cache", order=55, settings=SemanticCacheSettings)
class SemanticCache(Policy[SemanticCacheSettings]):
    """Answers to a similar last question, where everything before it is exactly the same."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self.hits = self.misses = self.failed = 0
        self._shelves: dict[bytes, _Shelf] = {}
        self._kept: OrderedDict[int, _Entry] = OrderedDict()  # the oldest first

    def __len__(self) -> int:
        return len(self._kept)

    def configure(self, settings: SemanticCacheSettings) -> None:
        if not settings.enabled or settings.model != self.settings.model:
            self.clear()
        super().configure(settings)
        while len(self._kept) > settings.max_entries:
            self._drop(next(iter(self._kept.values())))

    @property
    def is_active(self) -> bool:
        return self.settings.enabled and bool(self.settings.model) and self.surroundings.embedder is not None

    def clear(self) -> None:
        """Forget all answers."""
        self._shelves.clear()
        self._kept.clear()

    async def around(self, call: Call, proceed: Proceed) -> Reply:
        wish = str(call.notes.get("cache_control", ""))
        question = _question(call) if "no-store" not in wish else None
        if question is None:
            return await proceed(call)
        text, others = question
        place = digest(call, self.settings.share, messages=others)
        vector = await self._vector(text) if place is not None else None
        if place is None or vector is None:
            return await proceed(call)
        place += b"%d" % len(vector)
        found = self._find(place, vector) if "no-cache" not in wish else None
        if found is not None:
            similarity, answer = found
            self.hits += 1
            call.cache = "semantic"
            call.headers.append((b"x-cache", b"semantic; sim=%.2f" % similarity))
            return replay(answer, call)
        self.misses += 1
        route = call.route

        def keep(answer: Answer | None) -> None:
            # Where another model stepped in, nobody else shall take its answer for this one's.
            if answer is not None and self.settings.enabled and call.route is route:
                self._keep(place, vector, answer)

        return record(await proceed(call), keep, max_bytes=self.settings.max_answer_bytes)

    async def _vector(self, text: str) -> Vector | None:
        embedder = self.surroundings.embedder
        if embedder is None:
            return None
        try:
            rows = await embedder.embed(self.surroundings.workspace_id, self.settings.model, [text])
        except InhouseError:
            self.failed += 1  # a question that cannot be compared is asked
            return None
        return np.asarray(rows[0], dtype=np.float32)

    def _find(self, place: bytes, vector: Vector) -> tuple[float, Answer] | None:
        shelf = self._shelves.get(place)
        if shelf is None:
            return None
        similarities = shelf.rows[: len(shelf.entries)] @ vector
        best = int(similarities.argmax())
        entry = shelf.entries[best]
        if entry.expires <= self.surroundings.clock():
            self._drop(entry)
            return self._find(place, vector)
        similarity = float(similarities[best])
        return (similarity, entry.answer) if similarity >= self.settings.threshold else None

    def _keep(self, place: bytes, vector: Vector, answer: Answer) -> None:
        while len(self._kept) >= self.settings.max_entries:
            self._drop(next(iter(self._kept.values())))
        shelf = self._shelves.get(place)
        if shelf is None:
            shelf = self._shelves[place] = _Shelf(np.empty((_FIRST_ROWS, len(vector)), np.float32))
        row = len(shelf.entries)
        if row == len(shelf.rows):
            shelf.rows = np.concatenate((shelf.rows, np.empty_like(shelf.rows)))
        shelf.rows[row] = vector
        entry = _Entry(place, row, self.surroundings.clock() + self.settings.ttl_s, answer)
        shelf.entries.append(entry)
        self._kept[id(entry)] = entry

    def _drop(self, entry: _Entry) -> None:
        """Forget an entry; the last row takes its place."""
        shelf = self._shelves[entry.place]
        last = shelf.entries.pop()
        if last is not entry:
            shelf.entries[entry.row] = last
            shelf.rows[entry.row] = shelf.rows[last.row]
            last.row = entry.row
        if not shelf.entries:
            del self._shelves[entry.place]
        del self._kept[id(entry)]


def _question(call: Call) -> tuple[str, list[Any]] | None:
    """The last thing that the user said, and all other messages; None where that is more than text."""
    if call.endpoint is not Endpoint.CHAT:
        return None
    try:
        messages = call.json("messages")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return None
    last: dict[str, Any] = messages[-1]
    text = _text(last.get("content"))
    if last.get("role") != "user" or not text:
        return None
    return text, [*messages[:-1], {**last, "content": None}]


def _text(content: object) -> str:
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, list):
        return ""
    parts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
    texts = [part for part in parts if isinstance(part, str)]
    return "\n".join(texts).strip() if len(texts) == len(parts) else ""
