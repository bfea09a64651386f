"""Search: bring the indexes up to date with the database, ask them, and say whether there is an answer."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.knowledge import store
from inhouse.knowledge.index import Index, Segment, SegmentKey, Vocabulary
from inhouse.knowledge.refuse import is_answerable
from inhouse.knowledge.store import Chunk, KnowledgeBase

MAX_QUERY_CHARS = 4_000
"""The rest of a longer question is not searched for: nobody's question is that long, and its terms cost time."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A found chunk. `score` is its coverage: comparable across bases, 1 would be a perfect match."""

    chunk_id: str
    document_id: str
    document: str
    title: str
    page: int | None
    heading: tuple[str, ...]
    text: str
    score: float

    @classmethod
    def of(cls, chunk: Chunk, document: str, title: str, score: float) -> Self:
        return cls(
            chunk_id=chunk.id,
            document_id=chunk.document_id,
            document=document,
            title=title,
            page=chunk.page,
            heading=chunk.heading,
            text=chunk.text,
            score=score,
        )


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best passages, the coverage of the best of them, and whether that is enough to answer."""

    passages: list[Passage]
    coverage: float
    answerable: bool


class Searcher:
    """Holds one index for each base, and replaces it when the base's generation has moved on."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._indexes: dict[str, Index] = {}
        self._updating = threading.Lock()

    def search(self, principal: Principal, query: str, bases: Sequence[KnowledgeBase], top_k: int) -> SearchResult:
        hits = [(hit, base) for base in bases for hit in self.index(base).search(query[:MAX_QUERY_CHARS], top_k)]
        best = sorted(hits, key=lambda pair: -pair[0].coverage)[:top_k]
        with self._db.read() as conn:
            found = store.find_passages(conn, principal, [hit.chunk_id for hit, _ in best])
        passages = [
            Passage.of(*found[hit.chunk_id], hit.coverage) for hit, _ in best if hit.chunk_id in found
        ]  # a document may have been deleted just now
        return SearchResult(
            passages=passages,
            coverage=passages[0].score if passages else 0.0,
            answerable=bool(passages) and any(is_answerable(hit.coverage, base.threshold) for hit, base in best),
        )

    def index(self, base: KnowledgeBase) -> Index:
        """Return the base's index, brought up to date by tokenising what is new."""
        index = self._indexes.get(base.id)
        if index is not None and index.generation >= base.generation:
            return index
        with self._updating:
            index = self._indexes.get(base.id) or Index(Vocabulary())
            if index.generation < base.generation:
                index = self._indexes[base.id] = self._updated(index, base)
            return index

    def _updated(self, index: Index, base: KnowledgeBase) -> Index:
        with self._db.read() as conn:
            titles = store.list_indexed(conn, base.id)
            segments: dict[SegmentKey, Segment] = {}
            for document_id, (generation, title) in titles.items():
                key = (document_id, generation)
                segments[key] = index.segments.get(key) or Segment.of(
                    index.vocabulary,
                    ((chunk.id, _indexed_text(title, chunk)) for chunk in store.list_chunks(conn, document_id)),
                )
        return Index(index.vocabulary, segments, base.generation)


def _indexed_text(title: str, chunk: Chunk) -> str:
    """Title and headings count as words of the passage: the cheapest gain in retrieval quality there is."""
    return "\n".join([*dict.fromkeys((title, *chunk.heading)), chunk.text])
