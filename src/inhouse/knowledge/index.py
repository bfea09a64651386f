"""The keyword index of one knowledge base: BM25 over term postings in numpy arrays.

An index is a cache of SQL rows with a generation number. It never changes: adding or removing documents makes a new
one that reuses the segments (tokenised documents) of the old.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from inhouse.knowledge.tokens import terms

K1 = 1.2
B = 0.75


class Vocabulary:
    """Terms to numbers. It only grows, so the indexes of all generations share it."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, term: str) -> int:
        return self._numbers.setdefault(term, len(self._numbers))

    def find(self, term: str) -> int | None:
        return self._numbers.get(term)


@dataclass(frozen=True, slots=True)
class Segment:
    """One document's postings: parallel arrays of term, position of the chunk in the document, and frequency."""

    chunk_ids: tuple[str, ...]
    lengths: NDArray[np.float32]
    terms: NDArray[np.int32]
    chunks: NDArray[np.int32]
    frequencies: NDArray[np.float32]

    @classmethod
    def of(cls, vocabulary: Vocabulary, chunks: Iterable[tuple[str, str]]) -> Self:
        """Tokenise `(chunk id, text)` pairs."""
        ids: list[str] = []
        lengths: list[int] = []
        postings: list[tuple[int, int, int]] = []
        for position, (chunk_id, text) in enumerate(chunks):
            counts = Counter(terms(text))
            ids.append(chunk_id)
            lengths.append(counts.total())
            postings.extend((vocabulary.number(term), position, count) for term, count in counts.items())
        columns = np.array(postings, dtype=np.int32).reshape(-1, 3)
        return cls(
            chunk_ids=tuple(ids),
            lengths=np.array(lengths, dtype=np.float32),
            terms=columns[:, 0],
            chunks=columns[:, 1],
            frequencies=columns[:, 2].astype(np.float32),
        )


SegmentKey = tuple[str, int]
"""A document and the generation in which its passages were written."""

_NO_SEGMENTS: Mapping[SegmentKey, Segment] = {}


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk and its share, 0 to 1, of the best score that the question could reach."""

    chunk_id: str
    coverage: float


class Index:
    """BM25 over the segments of a base, with every posting's weight computed beforehand."""

    def __init__(
        self, vocabulary: Vocabulary, segments: Mapping[SegmentKey, Segment] = _NO_SEGMENTS, generation: int = -1
    ) -> None:
        self.vocabulary = vocabulary
        self.segments = segments
        self.generation = generation
        self._chunk_ids = [chunk_id for segment in segments.values() for chunk_id in segment.chunk_ids]
        self._assemble(list(segments.values()))

    def __len__(self) -> int:
        return len(self._chunk_ids)

    def search(self, query: str, top_k: int) -> list[Hit]:
        """Return the best chunks that share a term with the query, best first."""
        wanted = [self.vocabulary.find(term) for term in dict.fromkeys(terms(query))]
        known = [
            number for number in wanted if number is not None and number < len(self._idf) and self._idf[number] > 0
        ]
        if not known:
            return []
        scores = np.zeros(len(self), dtype=np.float32)
        for number in known:
            postings = slice(self._starts[number], self._starts[number + 1])
            scores[self._chunks[postings]] += self._weights[postings]
        ideal = self._ideal(known, unknown=len(wanted) - len(known))
        return [Hit(self._chunk_ids[i], float(scores[i]) / ideal) for i in _best(scores, top_k)]

    def _holds(self, number: int) -> bool:
        """The vocabulary also has terms of later generations and of deleted documents."""
        return number < len(self._idf) and self._idf[number] > 0

    def _ideal(self, known: Sequence[int], unknown: int) -> float:
        """The score of a chunk that holds every term of the query endlessly often. A term that the base does not
        know counts as the rarest possible one: it is the best sign that the answer is not here."""
        return (K1 + 1) * (float(self._idf[known].sum()) + unknown * math.log(1 + 2 * len(self)))

    def _assemble(self, segments: list[Segment]) -> None:
        """Join the segments' postings, ordered by term, and weigh them."""
        sizes = [len(segment.chunk_ids) for segment in segments]
        offsets = np.cumsum(sizes) - sizes
        numbers = _joined([segment.terms for segment in segments], np.int32)
        chunks = _joined([segment.chunks + offset for segment, offset in zip(segments, offsets, strict=True)], np.int32)
        frequencies = _joined([segment.frequencies for segment in segments], np.float32)
        lengths = _joined([segment.lengths for segment in segments], np.float32)

        order = np.argsort(numbers, kind="stable")
        document_frequency = np.bincount(numbers, minlength=len(self.vocabulary))
        inverse = np.log(1 + (len(self) - document_frequency + 0.5) / (document_frequency + 0.5))
        self._idf = np.where(document_frequency > 0, inverse, 0).astype(np.float32)
        self._starts = np.concatenate(([0], np.cumsum(document_frequency)))
        self._chunks = chunks[order]
        norm = K1 * (1 - B + B * lengths / max(float(lengths.mean()), 1.0)) if len(self) else lengths
        saturated = frequencies * (K1 + 1) / (frequencies + norm[chunks])
        self._weights = (self._idf[numbers] * saturated)[order].astype(np.float32)


def _joined(arrays: list[NDArray[np.generic]], dtype: type) -> NDArray:
    return np.concatenate(arrays).astype(dtype, copy=False) if arrays else np.empty(0, dtype)


def _best(scores: NDArray[np.float32], top_k: int) -> NDArray[np.intp]:
    """Positions of the highest scores above zero; equal scores keep document order."""
    candidates = np.flatnonzero(scores > 0)
    if len(candidates) > top_k:
        threshold = np.partition(scores[candidates], -top_k)[-top_k]
        candidates = candidates[scores[candidates] >= threshold]
    return candidates[np.argsort(-scores[candidates], kind="stable")][:top_k]
